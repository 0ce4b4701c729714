/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The other nodes.
 *
 * map             type          key                       value
 * nodes           HASH          __u32 node index          cairn_node
 * peers           HASH          cairn_mac                 __u32 node index
 * pod_routes      LPM_TRIE      cairn_prefix              __u32 node index
 *
 * A node index is local to this node and never 0. `nodes` and `peers` hold the
 * other nodes only; `pod_routes` holds their pod CIDRs, for which the kernel has
 * a route over the uplink too. A packet whose source MAC is in `peers` was handed
 * over by that node.
 */
#pragma once

#include <cairn/types.h>

struct cairn_node {
	struct cairn_addr address; /* on the uplink's segment */
	__u8 mac[6]; /* of its uplink */
	__u16 flags; /* none yet: 0 */
};

struct cairn_prefix {
	__u32 bits; /* 0..128; an IPv4 prefix counts the 96 mapped bits */
	struct cairn_addr address;
};

_Static_assert(sizeof(struct cairn_node) == 24, "ABI");
_Static_assert(sizeof(struct cairn_prefix) == 20, "ABI");
