/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The other nodes.
 *
 * map             type          key                       value
 * nodes           HASH          __u32 node index          cairn_node
 * peers           HASH          cairn_mac                 __u32 node index
 * tunnels         HASH          cairn_addr                __u32 node index
 * pod_routes      LPM_TRIE      cairn_prefix              __u32 node index
 * overlay         ARRAY of one  __u32 0                   __u32 ifindex of the VXLAN device, or 0
 *
 * A node index is local to this node and never 0. `nodes` and `peers` hold the
 * other nodes only; `pod_routes` holds their pod CIDRs, for which the kernel has
 * a route, too. A packet whose source MAC is in `peers`, or that came through the
 * overlay from an address in `tunnels`, was handed over by that node. A node on another subnet
 * has the flag TUNNEL, no entry in `peers`, one in `tunnels` for each of its addresses, and these
 * in `pod_routes` as well: what a pod sends to it keeps the pod's address, as it does to a node
 * on the same subnet. The overlay comes and goes while programs run: its index is in a map.
 */
#pragma once

#include <cairn/types.h>

enum cairn_node_flag {
	CAIRN_NODE_TUNNEL = 1, /* on another subnet: reached through the overlay */
};

struct cairn_node {
	struct cairn_addr address; /* on our subnet; with TUNNEL: where tunnels end, IPv4 if both have it */
	__u8 mac[6]; /* of its uplink; zero with TUNNEL */
	__u16 flags; /* cairn_node_flag */
};

struct cairn_prefix {
	__u32 bits; /* 0..128; an IPv4 prefix counts the 96 mapped bits */
	struct cairn_addr address;
};

_Static_assert(sizeof(struct cairn_node) == 24, "ABI");
_Static_assert(sizeof(struct cairn_prefix) == 20, "ABI");
