/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Whom an address belongs to. */
#pragma once

#include "address.h"
#include "maps.h"

#define ADDRESS_BITS 128

/* What an address is that no network says more about. */
static __always_inline __u32 identity_of_world(const struct cairn_addr *address)
{
	return address_is_mapped(address) ? CAIRN_IDENTITY_WORLD_IPV4 : CAIRN_IDENTITY_WORLD_IPV6;
}

/* The identity of a host's address: a pod's of this node is in `endpoints`, the others' are in
 * `identities`. */
__noinline int identity_at(const struct cairn_addr *address)
{
	struct cairn_prefix where = {.bits = ADDRESS_BITS};
	struct cairn_endpoint *pod;
	__u32 *found;

	if (!address)
		return CAIRN_IDENTITY_NONE;
	where.address = *address;
	pod = bpf_map_lookup_elem(&endpoints, &where.address);
	if (pod && pod->identity)
		return pod->identity;
	found = bpf_map_lookup_elem(&identities, &where);
	return found ? *found : identity_of_world(address);
}

static __always_inline bool identity_is_node(const struct cairn_addr *address)
{
	return identity_at(address) == CAIRN_IDENTITY_HOST;
}
