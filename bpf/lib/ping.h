/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Answer for a service address: ICMP echo (RFC 792), ARP (RFC 826). */
#pragma once

#include "observe.h"

#define REPLY_TTL 64
#define ARP_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_REPLY 2

struct ethernet_ends {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
};

static __always_inline int turn_ethernet(struct __sk_buff *skb)
{
	struct ethernet_ends old, new;

	if (bpf_skb_load_bytes(skb, 0, &old, sizeof(old)) < 0)
		return -1;
	__builtin_memcpy(new.destination, old.source, ETH_ALEN);
	__builtin_memcpy(new.source, old.destination, ETH_ALEN);
	return bpf_skb_store_bytes(skb, 0, &new, sizeof(new), 0);
}

/* Turn the request round and send it back where it came from. Every fragment is
 * turned; only the first one holds the ICMP header. Swapping the addresses leaves
 * the IP checksum as it is; a fresh TTL does not. */
static __always_inline int ping_answer(struct __sk_buff *skb, struct packet *p,
				       enum cairn_point point)
{
	__be32 ends[2] = {p->tuple.destination.word[3], p->tuple.source.word[3]};
	__u32 ttl_at = ETH_HLEN + offsetof(struct iphdr, ttl);
	__u8 ttl = REPLY_TTL, type = ICMP_ECHO_REPLY;
	__be16 old_ttl = bpf_htons(p->ttl << 8), new_ttl = bpf_htons(REPLY_TTL << 8);

	if (p->has_l4 &&
	    (bpf_l4_csum_replace(skb, p->l4_at + ICMP_CHECKSUM_AT,
				 bpf_htons(ICMP_ECHO << 8), 0, 2) < 0 ||
	     bpf_skb_store_bytes(skb, p->l4_at, &type, 1, 0) < 0))
		return drop(skb, p, point, CAIRN_DROP_REWRITE);
	if (bpf_l3_csum_replace(skb, IP_CHECKSUM_AT, old_ttl, new_ttl, 2) < 0 ||
	    bpf_skb_store_bytes(skb, ttl_at, &ttl, 1, 0) < 0 ||
	    bpf_skb_store_bytes(skb, IP_SOURCE_AT, ends, sizeof(ends), 0) < 0 ||
	    turn_ethernet(skb) < 0)
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

/* Answer a request for an address that this node was elected to answer for. */
static __always_inline int arp_serve(struct __sk_buff *skb)
{
	struct arp_packet arp;
	struct cairn_addr address;
	__be32 asked;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)) < 0 ||
	    arp.hardware != bpf_htons(ARP_ETHERNET) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.operation != bpf_htons(ARP_REQUEST))
		return pass(skb, CAIRN_POINT_UPLINK);
	__builtin_memcpy(&asked, arp.target_ip, 4);
	address_map(&address, asked);

	struct cairn_vip *vip = bpf_map_lookup_elem(&vips, &address);

	if (!vip || !(vip->flags & CAIRN_VIP_ARP))
		return pass(skb, CAIRN_POINT_UPLINK);
	return arp_answer(skb, &arp);
}
