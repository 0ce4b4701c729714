/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Addresses: IPv4 inside 16 octets, comparison. */
#pragma once

#include <stdbool.h>
#include <bpf/bpf_endian.h>

#include <cairn/types.h>

#define MAPPED_PREFIX bpf_htonl(0x0000ffff)

static __always_inline void address_map(struct cairn_addr *out, __be32 v4)
{
	out->word[0] = 0;
	out->word[1] = 0;
	out->word[2] = MAPPED_PREFIX;
	out->word[3] = v4;
}

static __always_inline bool address_is_mapped(const struct cairn_addr *a)
{
	return !a->word[0] && !a->word[1] && a->word[2] == MAPPED_PREFIX;
}

/* Turn an address into that of its family which stands for all: :: or 0.0.0.0 (mapped). */
static __always_inline void address_clear(struct cairn_addr *a)
{
	if (!address_is_mapped(a)) {
		a->word[0] = 0;
		a->word[1] = 0;
		a->word[2] = 0;
	}
	a->word[3] = 0;
}

/* Whether a host may have the address (RFC 1122 s3.2.1.3, RFC 4291 s2.5): not zero, loopback, multicast
 * or broadcast. */
static __always_inline bool address_is_host(const struct cairn_addr *a)
{
	__u8 first;

	if (!address_is_mapped(a))
		return a->word[0] && (a->word[0] & bpf_htonl(0xff000000)) != bpf_htonl(0xff000000);
	first = bpf_ntohl(a->word[3]) >> 24;
	return first && first != 127 && first < 224;
}

static __always_inline bool address_equal(const struct cairn_addr *a,
					  const volatile struct cairn_addr *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}
