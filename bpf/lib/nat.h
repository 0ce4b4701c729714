/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Rewrite an address and a port, and the checksums with them.
 *
 * Only the kernel's helpers are right in every state of a packet's checksum:
 * complete, partial (a local sender with offload), and GSO.
 */
#pragma once

#include "packet.h"

struct rewrite {
	struct cairn_addr old_address;
	struct cairn_addr new_address;
	__be16 old_port;
	__be16 new_port;
	bool is_source;
};

static __always_inline int nat_rewrite_l4(struct __sk_buff *skb, const struct packet *p,
					  const struct rewrite *r)
{
	bool udp = p->tuple.protocol == IPPROTO_UDP;
	__u32 sum_at = udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check);
	__u32 port_at = p->l4_at + (r->is_source ? 0 : 2);
	__u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;

	sum_at += p->l4_at;
	if (bpf_l4_csum_replace(skb, sum_at, r->old_address.word[3], r->new_address.word[3],
				flags | BPF_F_PSEUDO_HDR | 4) < 0)
		return -1;
	if (r->old_port == r->new_port)
		return 0;
	if (bpf_l4_csum_replace(skb, sum_at, r->old_port, r->new_port, flags | 2) < 0)
		return -1;
	return bpf_skb_store_bytes(skb, port_at, &r->new_port, sizeof(r->new_port), 0);
}

/* Returns CAIRN_PASS or CAIRN_DROP_REWRITE. A later fragment has no L4 header: the
 * first one's checksum covers the datagram. */
static __always_inline enum cairn_verdict nat_rewrite(struct __sk_buff *skb, const struct packet *p,
						      const struct rewrite *r)
{
	__u32 at = r->is_source ? IP_SOURCE_AT : IP_DESTINATION_AT;

	if (p->has_l4 && nat_rewrite_l4(skb, p, r) < 0)
		return CAIRN_DROP_REWRITE;
	if (bpf_l3_csum_replace(skb, IP_CHECKSUM_AT, r->old_address.word[3],
				r->new_address.word[3], 4) < 0)
		return CAIRN_DROP_REWRITE;
	if (bpf_skb_store_bytes(skb, at, &r->new_address.word[3], 4, 0) < 0)
		return CAIRN_DROP_REWRITE;
	return CAIRN_PASS;
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
