/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* ICMP errors about a connection through a service (RFC 792; RFC 1191 needs them).
 *
 * A router on the way to the client complains to the service's address and quotes
 * the packet: source the service, destination the client. The complaint follows
 * the connection to its backend, which must find its own address in the quote.
 */
#pragma once

#include "packet.h"

#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER 12
#define ICMP_HEADER 8

struct quote {
	struct cairn_tuple tuple; /* of the client's packets: the quote turned round */
	__u32 ip_at; /* octets from the start of the frame */
	__u32 l4_at;
};

static __always_inline bool icmp_is_error(const struct packet *p)
{
	return p->has_l4 && (p->icmp_type == ICMP_UNREACHABLE ||
			     p->icmp_type == ICMP_TIME_EXCEEDED || p->icmp_type == ICMP_PARAMETER);
}

/* Read what an ICMP error quotes. Returns CAIRN_PASS, or a drop reason if the quote is
 * cut, or is no first packet of TCP or UDP that the service's address sent. */
static __always_inline enum cairn_verdict icmp_read_quote(struct __sk_buff *skb,
							  const struct packet *p, struct quote *q)
{
	struct iphdr ip;
	__be16 ports[2];

	q->ip_at = p->l4_at + ICMP_HEADER;
	if (bpf_skb_load_bytes(skb, q->ip_at, &ip, sizeof(ip)) < 0)
		return CAIRN_DROP_TRUNCATED_L4;
	q->l4_at = q->ip_at + ip.ihl * 4;
	if (ip.version != 4 || ip.ihl < 5 || ip.frag_off & bpf_htons(IP_OFFSET_MASK) ||
	    ip.saddr != p->tuple.destination.word[3] ||
	    (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP))
		return CAIRN_DROP_ICMP_TYPE;
	if (bpf_skb_load_bytes(skb, q->l4_at, ports, sizeof(ports)) < 0)
		return CAIRN_DROP_TRUNCATED_L4;
	address_map(&q->tuple.source, ip.daddr);
	address_map(&q->tuple.destination, ip.saddr);
	q->tuple.source_port = ports[1];
	q->tuple.destination_port = ports[0];
	q->tuple.protocol = ip.protocol;
	return CAIRN_PASS;
}

/* Put the backend in the place of the service, in the packet and in the quote.
 *
 * An address in the quote changes the quote's own IP checksum as much the other
 * way, so the ICMP checksum, which covers both, stays; a port has no such
 * counterweight. ICMP has no pseudo header, so the outer address does not matter
 * to it. The quoted TCP or UDP checksum is left: nobody can verify a part.
 */
static __always_inline enum cairn_verdict icmp_translate(struct __sk_buff *skb,
							 const struct packet *p,
							 const struct quote *q,
							 const struct cairn_addr *address,
							 __be16 port)
{
	__be32 old = p->tuple.destination.word[3], new = address->word[3];
	__be16 old_port = q->tuple.destination_port;
	__u32 sum_at = offsetof(struct iphdr, check);

	if (bpf_l4_csum_replace(skb, p->l4_at + ICMP_CHECKSUM_AT, old_port, port, 2) < 0 ||
	    bpf_skb_store_bytes(skb, q->l4_at, &port, sizeof(port), 0) < 0 ||
	    bpf_l3_csum_replace(skb, q->ip_at + sum_at, old, new, 4) < 0 ||
	    bpf_skb_store_bytes(skb, q->ip_at + offsetof(struct iphdr, saddr), &new, 4, 0) < 0 ||
	    bpf_l3_csum_replace(skb, IP_CHECKSUM_AT, old, new, 4) < 0 ||
	    bpf_skb_store_bytes(skb, IP_DESTINATION_AT, &new, 4, 0) < 0)
		return CAIRN_DROP_REWRITE;
	return CAIRN_PASS;
}
