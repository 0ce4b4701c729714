/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Read a packet: Ethernet, IP, and as much of TCP, UDP and ICMP as is needed.
 *
 * Headers are copied with bpf_skb_load_bytes(), not read through skb->data: after
 * GRO a header may lie outside the linear area, where a check against data_end
 * would reject a good packet.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>

#include "address.h"
#include "maps.h"

#define IP_MORE_FRAGMENTS 0x2000
#define IP_OFFSET_MASK 0x1fff
#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMP_CHECKSUM_AT 2
#define TCP_FLAGS_AT 13
#define IP_CHECKSUM_AT (ETH_HLEN + offsetof(struct iphdr, check))
#define IP_SOURCE_AT (ETH_HLEN + offsetof(struct iphdr, saddr))
#define IP_DESTINATION_AT (ETH_HLEN + offsetof(struct iphdr, daddr))
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct packet {
	struct cairn_tuple tuple; /* direction is CAIRN_FORWARD until changed */
	__u32 l4_at; /* octets from the start of the frame */
	__be32 fragment_id;
	bool is_fragment;
	bool has_l4; /* false in later fragments */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 ttl;
};

/* Read the IPv4 header of @skb into @p: addresses, protocol, fragment.
 *
 * Returns CAIRN_PASS or a drop reason. A packet longer than its IP length is
 * good: short ones are padded to Ethernet's minimum (RFC 894).
 */
static __always_inline enum cairn_verdict packet_read_ip4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0)
		return CAIRN_DROP_TRUNCATED_L3;

	__u32 header = ip.ihl * 4;
	__u32 total = bpf_ntohs(ip.tot_len);

	if (ip.version != 4 || header < sizeof(ip) || total < header)
		return CAIRN_DROP_MALFORMED_IP;
	if (skb->len < ETH_HLEN + total)
		return CAIRN_DROP_TRUNCATED_L3;

	__u16 fragment = bpf_ntohs(ip.frag_off);

	address_map(&p->tuple.source, ip.saddr);
	address_map(&p->tuple.destination, ip.daddr);
	p->tuple.protocol = ip.protocol;
	p->l4_at = ETH_HLEN + header;
	p->fragment_id = ip.id;
	p->is_fragment = fragment & (IP_MORE_FRAGMENTS | IP_OFFSET_MASK);
	p->has_l4 = !(fragment & IP_OFFSET_MASK);
	p->ttl = ip.ttl;
	return CAIRN_PASS;
}

/* Fill in the ports of a later fragment, or remember those of a first one. */
static __always_inline enum cairn_verdict packet_match_fragment(struct packet *p)
{
	struct cairn_fragment_key key = {
		.source = p->tuple.source,
		.destination = p->tuple.destination,
		.id = p->fragment_id,
		.protocol = p->tuple.protocol,
	};

	if (p->has_l4) {
		struct cairn_fragment ports = {p->tuple.source_port, p->tuple.destination_port};

		bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
		return CAIRN_PASS;
	}

	struct cairn_fragment *first = bpf_map_lookup_elem(&fragments, &key);

	if (!first)
		return CAIRN_DROP_FRAGMENT;
	p->tuple.source_port = first->source_port;
	p->tuple.destination_port = first->destination_port;
	return CAIRN_PASS;
}

/* Read ports, TCP flags or ICMP type into @p (RFC 9293 s3.1, RFC 768, RFC 792).
 *
 * Other protocols have none of these and are left alone. Returns CAIRN_PASS or a
 * drop reason.
 */
static __always_inline enum cairn_verdict packet_read_l4(struct __sk_buff *skb, struct packet *p)
{
	__u8 head[TCP_FLAGS_AT + 1] = {};

	if (!p->has_l4)
		return packet_match_fragment(p);

	switch (p->tuple.protocol) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, p->l4_at, head, TCP_FLAGS_AT + 1) < 0)
			return CAIRN_DROP_TRUNCATED_L4;
		break;
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
		if (bpf_skb_load_bytes(skb, p->l4_at, head, sizeof(struct udphdr)) < 0)
			return CAIRN_DROP_TRUNCATED_L4;
		break;
	default:
		return CAIRN_PASS;
	}
	if (p->tuple.protocol == IPPROTO_ICMP) {
		p->icmp_type = head[0];
	} else {
		__builtin_memcpy(&p->tuple.source_port, head, 2);
		__builtin_memcpy(&p->tuple.destination_port, head + 2, 2);
		p->tcp_flags = head[TCP_FLAGS_AT]; /* 0 in UDP: nothing was loaded there */
	}
	return p->is_fragment ? packet_match_fragment(p) : CAIRN_PASS;
}
