/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The flow hash. Every node must compute the same, so that every node picks the
 * same backend from the same Maglev table: a change here is a change of protocol
 * between nodes. Addresses and ports are taken in network order.
 *
 * Multiply and fold over 64-bit words; the final mix is that of MurmurHash3.
 */
#pragma once

#include <bpf/bpf_endian.h>

#include <cairn/conntrack.h>

#define HASH_SEED 0x6361697266621a7bULL
#define HASH_PRIME 0x9e3779b97f4a7c15ULL

static __always_inline __u64 hash_word(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * HASH_PRIME;
	return hash ^ hash >> 29;
}

static __always_inline __u64 hash_address(__u64 hash, const struct cairn_addr *a)
{
	hash = hash_word(hash, (__u64)bpf_ntohl(a->word[0]) << 32 | bpf_ntohl(a->word[1]));
	return hash_word(hash, (__u64)bpf_ntohl(a->word[2]) << 32 | bpf_ntohl(a->word[3]));
}

static __always_inline __u32 hash_finish(__u64 hash)
{
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdULL;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return hash >> 32;
}

/* All packets of a connection, and only they, hash alike. */
static __always_inline __u32 hash_tuple(const struct cairn_tuple *t)
{
	__u64 hash = hash_address(hash_address(HASH_SEED, &t->source), &t->destination);
	__u64 ports = (__u64)bpf_ntohs(t->source_port) << 16 | bpf_ntohs(t->destination_port);

	return hash_finish(hash_word(hash, ports << 8 | t->protocol));
}

/* All connections of a client hash alike. */
static __always_inline __u32 hash_client(const struct cairn_addr *client)
{
	return hash_finish(hash_address(HASH_SEED, client));
}

/* Scale a hash to 0 .. size-1 without a division. */
static __always_inline __u32 hash_scale(__u32 hash, __u32 size)
{
	return (__u64)hash * size >> 32;
}
