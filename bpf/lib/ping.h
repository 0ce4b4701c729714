/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Answer for a service address: ICMP echo (RFC 792, RFC 4443 s4), ARP (RFC 826). */
#pragma once

#include "frame.h"

#define ARP_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_REPLY 2

/* Swapping the addresses leaves every checksum as it is; a fresh hop limit and another type
 * do not, where a checksum covers them. */
__noinline int ping_turn(struct __sk_buff *skb, const struct packet *p)
{
	if (!p)
		return -1;

	__u8 type = p->is_v6 ? ICMP6_ECHO_REPLY : ICMP_ECHO_REPLY, ttl = REPLY_TTL;
	__be16 asked = bpf_htons((p->is_v6 ? ICMP6_ECHO : ICMP_ECHO) << 8);
	__be16 old_ttl = bpf_htons(p->ttl << 8), new_ttl = bpf_htons(REPLY_TTL << 8);
	__be32 ends4[2] = {p->tuple.destination.word[3], p->tuple.source.word[3]};
	struct cairn_addr ends6[2] = {p->tuple.destination, p->tuple.source};

	if (p->has_l4 && (bpf_l4_csum_replace(skb, p->l4_at + ICMP_CHECKSUM_AT, asked,
					      bpf_htons(type << 8), 2) < 0 ||
			  bpf_skb_store_bytes(skb, p->l4_at, &type, 1, 0) < 0))
		return -1;
	if (p->is_v6)
		return bpf_skb_store_bytes(skb, IP6_SOURCE_AT, ends6, sizeof(ends6), 0) < 0 ||
		       bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit),
					   &ttl, 1, 0) < 0;
	return bpf_l3_csum_replace(skb, IP_CHECKSUM_AT, old_ttl, new_ttl, 2) < 0 ||
	       bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &ttl, 1, 0) < 0 ||
	       bpf_skb_store_bytes(skb, IP_SOURCE_AT, ends4, sizeof(ends4), 0) < 0;
}

/* Turn the request round and send it back where it came from. Every fragment is
 * turned; only the first one holds the ICMP header. */
static __always_inline int ping_answer(struct __sk_buff *skb, struct packet *p,
				       enum cairn_point point)
{
	__u8 asker;

	if (bpf_skb_load_bytes(skb, ETH_ALEN, &asker, sizeof(asker)) < 0 || asker & GROUP_MAC)
		return drop(skb, p, point, CAIRN_DROP_GROUP_FRAME);
	if (ping_turn(skb, p) || turn_ethernet(skb) < 0)
		return drop(skb, p, point, CAIRN_DROP_REWRITE);
	return forward(skb, point, CAIRN_PING_ANSWERED, bpf_redirect(skb->ifindex, 0));
}

/* RFC 826: hardware, protocol and operation, then the two pairs. */
struct arp_packet {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_bytes;
	__u8 protocol_bytes;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target_ip[4];
};

static __always_inline int arp_answer(struct __sk_buff *skb, struct arp_packet *arp)
{
	struct ethernet_ends ends;
	__u8 asked[4];

	__builtin_memcpy(asked, arp->target_ip, 4);
	arp->operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(arp->target_ip, arp->sender_ip, 4);
	for (int i = 0; i < ETH_ALEN; i++)
		arp->sender_mac[i] = cairn_config.uplink_mac[i];
	__builtin_memcpy(arp->sender_ip, asked, 4);
	__builtin_memcpy(ends.source, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(ends.destination, arp->target_mac, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, ETH_HLEN, arp, sizeof(*arp), 0) < 0 ||
	    bpf_skb_store_bytes(skb, 0, &ends, sizeof(ends), 0) < 0)
		return pass(skb, CAIRN_POINT_UPLINK);
	return forward(skb, CAIRN_POINT_UPLINK, CAIRN_ARP_ANSWERED, bpf_redirect(skb->ifindex, 0));
}

/* Whether there is somebody to answer: a host, or who has no address yet (RFC 5227 s1.1). */
static __always_inline bool arp_asker_is_host(const struct arp_packet *arp)
{
	struct cairn_addr address;
	__be32 sender;

	__builtin_memcpy(&sender, arp->sender_ip, 4);
	address_map(&address, sender);
	return !(arp->sender_mac[0] & GROUP_MAC) && (!sender || address_is_host(&address));
}

/* Answer a request for an address that this node was elected to answer for. Who asks for what
 * it claims to have announces it (RFC 5227 s2.3): that goes to the stack, where the agent hears
 * of it and defends. */
static __always_inline int arp_serve(struct __sk_buff *skb)
{
	struct arp_packet arp;
	struct cairn_addr address;
	__be32 asked;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)) < 0 ||
	    arp.hardware != bpf_htons(ARP_ETHERNET) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.operation != bpf_htons(ARP_REQUEST) || !arp_asker_is_host(&arp) ||
	    !__builtin_memcmp(arp.sender_ip, arp.target_ip, sizeof(arp.target_ip)))
		return pass(skb, CAIRN_POINT_UPLINK);
	__builtin_memcpy(&asked, arp.target_ip, 4);
	address_map(&address, asked);

	struct cairn_vip *vip = bpf_map_lookup_elem(&vips, &address);

	if (!vip || !(vip->flags & CAIRN_VIP_ARP))
		return pass(skb, CAIRN_POINT_UPLINK);
	return arp_answer(skb, &arp);
}
