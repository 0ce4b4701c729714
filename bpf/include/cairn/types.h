/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Types that every ABI header shares.
 *
 * Rules of the ABI: fixed-width types; byte order in the type; explicit padding
 * that is always 0; addresses always 16 octets, IPv4 mapped as ::ffff:a.b.c.d
 * (RFC 4291 s2.5.5.2), so no structure knows an address family.
 */
#pragma once

#include <linux/types.h>

/* An IPv4 (mapped) or IPv6 address in network order. */
struct cairn_addr {
	__be32 word[4];
};

/* An Ethernet address, padded to eight octets so that it can be a key. */
struct cairn_mac {
	__u8 octets[6];
	__u8 pad[2];
};

_Static_assert(sizeof(struct cairn_addr) == 16, "ABI");
_Static_assert(sizeof(struct cairn_mac) == 8, "ABI");
