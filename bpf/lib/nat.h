/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Rewrite an address and a port, and the checksums with them.
 *
 * Only the kernel's helpers are right in every state of a packet's checksum:
 * complete, partial (a local sender with offload), and GSO.
 */
#pragma once

#include "checksum.h"
#include "packet.h"

struct rewrite {
	struct cairn_addr old_address;
	struct cairn_addr new_address;
	__be16 old_port;
	__be16 new_port;
	bool is_source;
};

/* The difference that turns the checksum of @from into that of @to. */
static __always_inline __s64 nat_difference(struct cairn_addr *from, struct cairn_addr *to)
{
	return bpf_csum_diff(from->word, sizeof(from->word), to->word, sizeof(to->word), 0);
}

static __always_inline enum cairn_verdict nat_rewrite_l4(struct __sk_buff *skb,
							 const struct packet *p, struct rewrite *r)
{
	bool udp = p->tuple.protocol == IPPROTO_UDP;
	__u32 sum_at = udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check);
	__u32 port_at = p->l4_at + (r->is_source ? 0 : 2);
	__u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;

	/* SCTP's checksum (RFC 9260 s6.8) covers no addresses, but the ports, and cannot be
	 * changed in place. */
	if (p->tuple.protocol == PROTOCOL_SCTP)
		return r->old_port == r->new_port ? CAIRN_PASS : CAIRN_DROP_SCTP_PORT;
	sum_at += p->l4_at;
	if (p->is_v6) {
		/* No checksum of IPv6's own makes up for the address. So where the device summed
		 * the whole packet that sum stays, which the flag would change. */
		if (checksum_is_partial(skb))
			flags |= BPF_F_PSEUDO_HDR;
		if (bpf_l4_csum_replace(skb, sum_at, 0,
					nat_difference(&r->old_address, &r->new_address),
					flags) < 0)
			return CAIRN_DROP_REWRITE;
	} else if (bpf_l4_csum_replace(skb, sum_at, r->old_address.word[3],
				       r->new_address.word[3], flags | BPF_F_PSEUDO_HDR | 4) < 0) {
		return CAIRN_DROP_REWRITE;
	}
	if (r->old_port == r->new_port)
		return CAIRN_PASS;
	flags &= ~(__u64)BPF_F_PSEUDO_HDR;
	if (bpf_l4_csum_replace(skb, sum_at, r->old_port, r->new_port, flags | 2) < 0 ||
	    bpf_skb_store_bytes(skb, port_at, &r->new_port, sizeof(r->new_port), 0) < 0)
		return CAIRN_DROP_REWRITE;
	return CAIRN_PASS;
}

/* Put @new_address in the place of the source or destination of the IP header. */
static __always_inline enum cairn_verdict nat_rewrite_ip(struct __sk_buff *skb,
							 const struct packet *p, struct rewrite *r)
{
	if (p->is_v6) {
		__u32 at = r->is_source ? IP6_SOURCE_AT : IP6_DESTINATION_AT;
		/* In a later fragment no other checksum makes up for it either. */
		__u64 flags = p->has_l4 ? 0 : BPF_F_RECOMPUTE_CSUM;

		return bpf_skb_store_bytes(skb, at, r->new_address.word,
					   sizeof(r->new_address.word), flags) < 0
			       ? CAIRN_DROP_REWRITE
			       : CAIRN_PASS;
	}
	if (bpf_l3_csum_replace(skb, IP_CHECKSUM_AT, r->old_address.word[3],
				r->new_address.word[3], 4) < 0 ||
	    bpf_skb_store_bytes(skb, r->is_source ? IP_SOURCE_AT : IP_DESTINATION_AT,
				&r->new_address.word[3], 4, 0) < 0)
		return CAIRN_DROP_REWRITE;
	return CAIRN_PASS;
}

/* Returns CAIRN_PASS or a drop reason. A later fragment has no L4 header: the
 * first one's checksum covers the datagram. */
__noinline int nat_rewrite(struct __sk_buff *skb, const struct packet *p, struct rewrite *r)
{
	if (!p || !r)
		return CAIRN_DROP_REWRITE;

	enum cairn_verdict verdict = p->has_l4 ? nat_rewrite_l4(skb, p, r) : CAIRN_PASS;

	return verdict == CAIRN_PASS ? nat_rewrite_ip(skb, p, r) : verdict;
}

static __always_inline enum cairn_verdict nat_destination(struct __sk_buff *skb,
							  const struct packet *p,
							  const struct cairn_addr *address,
							  __be16 port)
{
	struct rewrite r = {
		.old_address = p->tuple.destination,
		.new_address = *address,
		.old_port = p->tuple.destination_port,
		.new_port = port,
		.is_source = false,
	};

	return nat_rewrite(skb, p, &r);
}

static __always_inline enum cairn_verdict
nat_source(struct __sk_buff *skb, const struct packet *p, const struct cairn_addr *address,
	   __be16 port)
{
	struct rewrite r = {
		.old_address = p->tuple.source,
		.new_address = *address,
		.old_port = p->tuple.source_port,
		.new_port = port,
		.is_source = true,
	};

	return nat_rewrite(skb, p, &r);
}
