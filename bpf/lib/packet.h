/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Read a packet: Ethernet, IPv4 or IPv6, and as much of TCP, UDP, SCTP and ICMP as is needed.
 *
 * Headers are copied: from the linear area where they lie there, else, as they may after GRO, with
 * bpf_skb_load_bytes(), which takes 30 ns more.
 *
 * Functions that are __noinline and not static are verified by themselves, once: without them the
 * verifier would follow every way through the programs to its end. Their pointers may be NULL
 * as far as it knows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>

#include "address.h"
#include "maps.h"

#define IP_DONT_FRAGMENT 0x4000
#define IP_MORE_FRAGMENTS 0x2000
#define IP_OFFSET_MASK 0x1fff
#define IP6_HEADER 40
#define IP6_OFFSET_MASK 0xfff8
#define IP6_MORE_FRAGMENTS 1
#define IP6_MOST_EXTENSIONS 6
#define NEXT_HOP_OPTIONS 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_AUTHENTICATION 51
#define NEXT_DESTINATION_OPTIONS 60
#define PROTOCOL_ICMP6 58
#define PROTOCOL_SCTP 132
#define SCTP_HEADER 12
#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define ICMP_CHECKSUM_AT 2
#define TCP_FLAGS_AT 13
#define IP_CHECKSUM_AT (ETH_HLEN + offsetof(struct iphdr, check))
#define IP_SOURCE_AT (ETH_HLEN + offsetof(struct iphdr, saddr))
#define IP_DESTINATION_AT (ETH_HLEN + offsetof(struct iphdr, daddr))
#define IP6_SOURCE_AT (ETH_HLEN + offsetof(struct ipv6hdr, saddr))
#define IP6_DESTINATION_AT (ETH_HLEN + offsetof(struct ipv6hdr, daddr))
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct packet {
	struct cairn_tuple tuple; /* direction is CAIRN_FORWARD until changed */
	__u32 l4_at; /* octets from the start of the frame */
	__u32 end_at; /* likewise: where the IP packet ends; padding of the frame may follow */
	__be32 fragment_id;
	bool is_v6;
	bool is_fragment;
	bool has_l4; /* false in later fragments */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 ttl;
	__be16 icmp_id; /* of an echo */
};

#define HEADERS_MOST 256 /* beyond this only the helper looks */

/* Copy a header's @octets, a multiple of four, to @to, which is aligned so. Returns < 0 if the packet
 * ends before. */
static __always_inline int packet_load(struct __sk_buff *skb, __u32 at, void *to,
				       const __u32 octets)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (at <= HEADERS_MOST) {
		const __u32 *from = data + at;
		__u32 *words = to;

		if ((void *)from + octets <= end) {
			for (__u32 i = 0; i < octets / 4; i++)
				words[i] = from[i];
			return 0;
		}
	}
	return bpf_skb_load_bytes(skb, at, to, octets);
}

/* Read the IPv4 header of @skb into @p: addresses, protocol, fragment.
 *
 * Returns CAIRN_PASS or a drop reason. A packet longer than its IP length is
 * good: short ones are padded to Ethernet's minimum (RFC 894).
 */
static __always_inline enum cairn_verdict packet_read_ip4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr ip;

	if (packet_load(skb, ETH_HLEN, &ip, sizeof(ip)) < 0)
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
	p->end_at = ETH_HLEN + total;
	p->fragment_id = ip.id;
	p->is_fragment = fragment & (IP_MORE_FRAGMENTS | IP_OFFSET_MASK);
	p->has_l4 = !(fragment & IP_OFFSET_MASK);
	p->ttl = ip.ttl;
	return CAIRN_PASS;
}

/* Walk the extension headers (RFC 8200 s4) from @next at @at to the transport header. */
__noinline int packet_skip_extensions(struct __sk_buff *skb, struct packet *p, __u32 at,
					     __u8 next)
{
	if (!p)
		return CAIRN_DROP_MALFORMED_IP;
	for (int i = 0; i < IP6_MOST_EXTENSIONS; i++) {
		__u8 head[8];

		switch (next) {
		case NEXT_HOP_OPTIONS:
		case NEXT_ROUTING:
		case NEXT_DESTINATION_OPTIONS:
		case NEXT_AUTHENTICATION:
		case NEXT_FRAGMENT:
			break;
		default:
			p->tuple.protocol = next;
			p->l4_at = at;
			return at > p->end_at ? CAIRN_DROP_TRUNCATED_L3 : CAIRN_PASS;
		}
		if (bpf_skb_load_bytes(skb, at, head, sizeof(head)) < 0)
			return CAIRN_DROP_TRUNCATED_L3;
		if (next == NEXT_FRAGMENT) {
			__u16 field = head[2] << 8 | head[3];

			__builtin_memcpy(&p->fragment_id, head + 4, 4);
			p->is_fragment = field & (IP6_OFFSET_MASK | IP6_MORE_FRAGMENTS);
			p->has_l4 = !(field & IP6_OFFSET_MASK);
			at += sizeof(head);
		} else if (next == NEXT_AUTHENTICATION) {
			at += (head[1] + 2) * 4;
		} else {
			at += (head[1] + 1) * 8;
		}
		next = head[0];
		if (!p->has_l4) { /* what follows is not a header any more */
			p->tuple.protocol = next;
			p->l4_at = at;
			return CAIRN_PASS;
		}
	}
	return CAIRN_DROP_EXTENSION;
}

/* Read the IPv6 header of @skb into @p (RFC 8200 s3). Returns as packet_read_ip4(). */
static __always_inline enum cairn_verdict packet_read_ip6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr ip;

	if (packet_load(skb, ETH_HLEN, &ip, sizeof(ip)) < 0)
		return CAIRN_DROP_TRUNCATED_L3;
	if (ip.version != 6)
		return CAIRN_DROP_MALFORMED_IP;
	__builtin_memcpy(&p->tuple.source, &ip.saddr, sizeof(p->tuple.source));
	__builtin_memcpy(&p->tuple.destination, &ip.daddr, sizeof(p->tuple.destination));
	/* Mapped addresses are for sockets, never for wires: with one an IPv6 packet would pass for
	 * IPv4 in every map. */
	if (address_is_mapped(&p->tuple.source) || address_is_mapped(&p->tuple.destination))
		return CAIRN_DROP_MALFORMED_IP;

	__u32 payload = bpf_ntohs(ip.payload_len);

	/* 0 is a jumbogram (RFC 2675), which no Ethernet carries, or one of the kernel's own
	 * large packets, which has its length elsewhere. */
	if (!payload && skb->gso_segs > 1)
		payload = skb->len - ETH_HLEN - IP6_HEADER;
	if (skb->len < ETH_HLEN + IP6_HEADER + payload)
		return CAIRN_DROP_TRUNCATED_L3;
	p->end_at = ETH_HLEN + IP6_HEADER + payload;
	p->is_v6 = true;
	p->has_l4 = true;
	p->ttl = ip.hop_limit;
	if (ip.nexthdr == IPPROTO_TCP || ip.nexthdr == IPPROTO_UDP ||
	    ip.nexthdr == PROTOCOL_ICMP6) {
		p->tuple.protocol = ip.nexthdr;
		p->l4_at = ETH_HLEN + IP6_HEADER;
		return CAIRN_PASS;
	}
	return packet_skip_extensions(skb, p, ETH_HLEN + IP6_HEADER, ip.nexthdr);
}

/* A packet of another VLAN than the interface's own; priority tags (IEEE 802.1Q, VLAN 0) are of it. */
static __always_inline bool is_foreign_vlan(const struct __sk_buff *skb)
{
	return skb->vlan_present && skb->vlan_tci & 0xfff;
}

/* Whether the frame was sent to all hosts of the link, or to a group of them. */
static __always_inline bool is_group_frame(const struct __sk_buff *skb)
{
	return skb->pkt_type == PACKET_BROADCAST || skb->pkt_type == PACKET_MULTICAST;
}

static __always_inline bool packet_is_ip(const struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6);
}

/* Read the IP header of either family; the caller knows that it is one. */
static __always_inline enum cairn_verdict packet_read_ip(struct __sk_buff *skb, struct packet *p)
{
	return skb->protocol == bpf_htons(ETH_P_IP) ? packet_read_ip4(skb, p)
						    : packet_read_ip6(skb, p);
}

static __always_inline bool packet_is_icmp(const struct packet *p)
{
	return p->tuple.protocol == (p->is_v6 ? PROTOCOL_ICMP6 : IPPROTO_ICMP);
}

/* What the first fragment of a datagram tells the later ones: the ports; of ICMP the identifier,
 * and type and code. */
static __always_inline struct cairn_fragment packet_head(const struct packet *p)
{
	struct cairn_fragment ports = {p->tuple.source_port, p->tuple.destination_port};
	struct cairn_fragment icmp = {p->icmp_id, bpf_htons(p->icmp_type << 8 | p->icmp_code)};

	return packet_is_icmp(p) ? icmp : ports;
}

static __always_inline void packet_take_head(struct packet *p, const struct cairn_fragment *first)
{
	if (packet_is_icmp(p)) {
		p->icmp_id = first->source_port;
		p->icmp_type = bpf_ntohs(first->destination_port) >> 8;
		p->icmp_code = bpf_ntohs(first->destination_port);
	} else {
		p->tuple.source_port = first->source_port;
		p->tuple.destination_port = first->destination_port;
	}
}

/* Fill in the head of a later fragment, or remember that of a first one. */
static __always_inline enum cairn_verdict packet_match_fragment(struct packet *p)
{
	struct cairn_fragment_key key = {
		.source = p->tuple.source,
		.destination = p->tuple.destination,
		.id = p->fragment_id,
		.protocol = p->tuple.protocol,
	};

	if (p->has_l4) {
		struct cairn_fragment head = packet_head(p);

		bpf_map_update_elem(&fragments, &key, &head, BPF_ANY);
		return CAIRN_PASS;
	}

	struct cairn_fragment *first = bpf_map_lookup_elem(&fragments, &key);

	if (!first)
		return CAIRN_DROP_FRAGMENT;
	packet_take_head(p, first);
	return CAIRN_PASS;
}

/* Whether the packet's protocol has ports, so that a service may take it. */
static __always_inline bool packet_has_ports(const struct packet *p)
{
	__u8 protocol = p->tuple.protocol;

	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == PROTOCOL_SCTP;
}

/* Read ports, TCP flags or ICMP type into @p (RFC 9293 s3.1, 768, 9260 s3, 792, 4443).
 *
 * Other protocols have none of these and are left alone. Returns CAIRN_PASS or a
 * drop reason.
 */
__noinline int packet_read_l4(struct __sk_buff *skb, struct packet *p)
{
	union {
		__u32 words[4];
		__u8 octets[16];
	} first = {};
	__u8 *head = first.octets;
	__u32 need = sizeof(struct udphdr);

	if (!p)
		return CAIRN_DROP_MALFORMED_IP;

	if (!p->has_l4)
		return packet_match_fragment(p);

	if (p->tuple.protocol == IPPROTO_TCP) {
		need = sizeof(struct tcphdr);
		if (packet_load(skb, p->l4_at, &first, sizeof(first)) < 0)
			return CAIRN_DROP_TRUNCATED_L4;
	} else if (packet_has_ports(p) || packet_is_icmp(p)) {
		if (packet_load(skb, p->l4_at, &first, sizeof(struct udphdr)) < 0)
			return CAIRN_DROP_TRUNCATED_L4;
		if (p->tuple.protocol == PROTOCOL_SCTP)
			need = SCTP_HEADER;
	} else {
		return CAIRN_PASS;
	}
	if (p->l4_at + need > p->end_at)
		return CAIRN_DROP_TRUNCATED_L4;
	if (packet_is_icmp(p)) {
		p->icmp_type = head[0];
		p->icmp_code = head[1];
		__builtin_memcpy(&p->icmp_id, head + 4, 2);
	} else {
		__builtin_memcpy(&p->tuple.source_port, head, 2);
		__builtin_memcpy(&p->tuple.destination_port, head + 2, 2);
		p->tcp_flags = head[TCP_FLAGS_AT]; /* 0 in others: nothing was loaded there */
	}
	return p->is_fragment ? packet_match_fragment(p) : CAIRN_PASS;
}

static __always_inline bool packet_is_echo(const struct packet *p)
{
	return p->icmp_type == (p->is_v6 ? ICMP6_ECHO : ICMP_ECHO);
}
