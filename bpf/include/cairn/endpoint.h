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
};

struct cairn_endpoint {
	__u32 ifindex; /* host side of the pod's veth pair */
	__u8 mac[6]; /* of the pod's interface */
	__u8 host_mac[6]; /* of the host side */
	__u32 flags; /* cairn_endpoint_flag: set by the programs, kept by user space */
};

_Static_assert(sizeof(struct cairn_endpoint) == 20, "ABI");
