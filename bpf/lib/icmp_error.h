/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* ICMP errors about a connection through a service (RFC 792, RFC 4443; path MTU discovery,
 * RFC 1191 and RFC 8201, needs them).
 *
 * A router on the way to the client complains to the service's address and quotes
 * the packet: source the service, destination the client. The complaint follows
 * the connection to its backend, which must find its own address in the quote.
 */
#pragma once

#include "nat.h"

#define ICMP_HEADER 8
#define ICMP6_LAST_ERROR 127

struct quote {
	struct cairn_tuple tuple; /* of the client's packets: the quote turned round */
	__u32 ip_at; /* octets from the start of the frame */
	__u32 l4_at;
};

static __always_inline bool icmp_is_error(const struct packet *p)
{
	if (!p->has_l4)
		return false;
	if (p->is_v6)
		return p->icmp_type <= ICMP6_LAST_ERROR;
	return p->icmp_type == 3 || p->icmp_type == 11 || p->icmp_type == 12;
}

static __always_inline enum cairn_verdict icmp_read_quoted_ip(struct __sk_buff *skb,
							      const struct packet *p,
							      struct quote *q)
{
	if (p->is_v6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, q->ip_at, &ip, sizeof(ip)) < 0)
			return CAIRN_DROP_TRUNCATED_L4;
		if (ip.version != 6)
			return CAIRN_DROP_ICMP_TYPE;
		__builtin_memcpy(&q->tuple.destination, &ip.saddr, sizeof(ip.saddr));
		__builtin_memcpy(&q->tuple.source, &ip.daddr, sizeof(ip.daddr));
		q->tuple.protocol = ip.nexthdr;
		q->l4_at = q->ip_at + sizeof(ip);
		return CAIRN_PASS;
	}

	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, q->ip_at, &ip, sizeof(ip)) < 0)
		return CAIRN_DROP_TRUNCATED_L4;
	if (ip.version != 4 || ip.ihl < 5 || ip.frag_off & bpf_htons(IP_OFFSET_MASK))
		return CAIRN_DROP_ICMP_TYPE;
	address_map(&q->tuple.source, ip.daddr);
	address_map(&q->tuple.destination, ip.saddr);
	q->tuple.protocol = ip.protocol;
	q->l4_at = q->ip_at + ip.ihl * 4;
	return CAIRN_PASS;
}

/* Read what an ICMP error quotes. Returns CAIRN_PASS, or a drop reason if the quote is
 * cut, or is no first packet of TCP, UDP or SCTP that the service's address sent. */
__noinline int icmp_read_quote(struct __sk_buff *skb, const struct packet *p, struct quote *q)
{
	if (!p || !q)
		return CAIRN_DROP_ICMP_TYPE;

	__be16 ports[2];
	enum cairn_verdict verdict;

	q->ip_at = p->l4_at + ICMP_HEADER;
	verdict = icmp_read_quoted_ip(skb, p, q);
	if (verdict != CAIRN_PASS)
		return verdict;
	if (!address_equal(&q->tuple.destination, &p->tuple.destination) ||
	    (q->tuple.protocol != IPPROTO_TCP && q->tuple.protocol != IPPROTO_UDP &&
	     q->tuple.protocol != PROTOCOL_SCTP))
		return CAIRN_DROP_ICMP_TYPE;
	if (q->l4_at + sizeof(ports) > p->end_at ||
	    bpf_skb_load_bytes(skb, q->l4_at, ports, sizeof(ports)) < 0)
		return CAIRN_DROP_TRUNCATED_L4;
	q->tuple.source_port = ports[1];
	q->tuple.destination_port = ports[0];
	return CAIRN_PASS;
}

/* In IPv6 the checksum covers the packet's own addresses too, and the quote has none. */
static __always_inline bool icmp_translate_ip6(struct __sk_buff *skb, const struct packet *p,
					       const struct quote *q, struct cairn_addr *old,
					       struct cairn_addr *new)
{
	__u32 check_at = p->l4_at + ICMP_CHECKSUM_AT;
	__u32 quoted_at = q->ip_at + offsetof(struct ipv6hdr, saddr);
	__s64 difference = nat_difference(old, new);

	return bpf_l4_csum_replace(skb, check_at, 0, difference, 0) == 0 &&
	       bpf_skb_store_bytes(skb, quoted_at, new->word, sizeof(new->word), 0) == 0 &&
	       bpf_l4_csum_replace(skb, check_at, 0, difference, 0) == 0 &&
	       bpf_skb_store_bytes(skb, IP6_DESTINATION_AT, new->word, sizeof(new->word), 0) == 0;
}

/* An address in the quote changes the quote's own IP checksum as much the other way, so
 * the ICMP checksum, which covers both, stays. ICMP has no pseudo header, so the outer
 * address does not matter to it. */
static __always_inline bool icmp_translate_ip4(struct __sk_buff *skb, const struct quote *q,
					       __be32 old, __be32 new)
{
	__u32 sum_at = q->ip_at + offsetof(struct iphdr, check);
	__u32 quoted_at = q->ip_at + offsetof(struct iphdr, saddr);

	return bpf_l3_csum_replace(skb, sum_at, old, new, 4) == 0 &&
	       bpf_skb_store_bytes(skb, quoted_at, &new, 4, 0) == 0 &&
	       bpf_l3_csum_replace(skb, IP_CHECKSUM_AT, old, new, 4) == 0 &&
	       bpf_skb_store_bytes(skb, IP_DESTINATION_AT, &new, 4, 0) == 0;
}

/* Put the backend in the place of the service, in the packet and in the quote. The quoted
 * TCP or UDP checksum is left: nobody can verify a part. */
__noinline int icmp_translate(struct __sk_buff *skb, const struct packet *p, const struct quote *q,
			      const struct cairn_addr *address, __be16 port)
{
	if (!p || !q || !address)
		return CAIRN_DROP_REWRITE;

	struct cairn_addr old = p->tuple.destination, new = *address;
	__be16 old_port = q->tuple.destination_port;
	bool done;

	if (bpf_l4_csum_replace(skb, p->l4_at + ICMP_CHECKSUM_AT, old_port, port, 2) < 0 ||
	    bpf_skb_store_bytes(skb, q->l4_at, &port, sizeof(port), 0) < 0)
		return CAIRN_DROP_REWRITE;
	done = p->is_v6 ? icmp_translate_ip6(skb, p, q, &old, &new)
			: icmp_translate_ip4(skb, q, old.word[3], new.word[3]);
	return done ? CAIRN_PASS : CAIRN_DROP_REWRITE;
}
