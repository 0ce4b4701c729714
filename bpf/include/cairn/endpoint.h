/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Pods of this node.
 *
 * map             type          key                       value
 * endpoints       HASH          cairn_addr                cairn_endpoint
 *
 * An entry makes the pod reachable by BPF and its source address valid: until it
 * stands, what the pod sends is dropped (SOURCE_ADDRESS).
 */
#pragma once

#include <cairn/types.h>

enum cairn_endpoint_flag {
	CAIRN_ENDPOINT_SERVES_INSIDE = 1, /* a pod of the cluster reached it through a service, by packets */
	CAIRN_ENDPOINT_EGRESS = 2, /* isolated: what it opens is judged by policy */
	CAIRN_ENDPOINT_INGRESS = 4, /* isolated: what is opened towards it is judged by policy */
	CAIRN_ENDPOINT_CLOSED = 8, /* its policy is not in the maps: nothing passes in either direction */
};

struct cairn_endpoint {
	__u32 ifindex; /* host side of the pod's veth pair */
	__u8 mac[6]; /* of the pod's interface */
	__u8 host_mac[6]; /* of the host side */
	__u32 flags; /* cairn_endpoint_flag; SERVES_INSIDE is set by the programs, kept by user space */
	__u32 identity; /* as in policy.h; 0: none yet, which goes with CLOSED */
};

_Static_assert(sizeof(struct cairn_endpoint) == 24, "ABI");
