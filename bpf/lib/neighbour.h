/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Answer neighbour solicitations for a service address (RFC 4861 s4.3, s7.2.4). */
#pragma once

#include "frame.h"

#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_HOP_LIMIT 255
#define ND_TARGET_LINK 2
#define ND_SOLICITED 0x40
#define ND_OVERRIDE 0x20

struct neighbour_message {
	__u8 type;
	__u8 code;
	__be16 check;
	__u8 flags; /* reserved in a solicitation */
	__u8 reserved[3];
	struct cairn_addr target;
	__u8 option; /* here begin the options */
	__u8 option_units; /* of eight octets */
	__u8 mac[ETH_ALEN];
};

#define ND_BARE (sizeof(struct neighbour_message) - 8) /* without options */

/* Turn the solicitation into an advertisement. One sent from :: asks whether the address is
 * taken (RFC 4862 s5.4): all nodes are told. */
__noinline int write_advertisement(struct __sk_buff *skb, struct packet *p)
{
	struct neighbour_message answer = {
		.type = ND_ADVERTISEMENT,
		.flags = ND_OVERRIDE,
		.option = ND_TARGET_LINK,
		.option_units = 1,
	};
	struct ethernet_ends ends;
	__u64 sum;

	if (!p || bpf_skb_load_bytes(skb, 0, &ends, sizeof(ends)) < 0 ||
	    bpf_skb_load_bytes(skb, p->l4_at + offsetof(struct neighbour_message, target),
			       &answer.target, sizeof(answer.target)) < 0)
		return -1;
	__builtin_memcpy(ends.destination, ends.source, ETH_ALEN);
	if (!p->tuple.source.word[0]) {
		static const __u8 all_nodes[ETH_ALEN] = {0x33, 0x33, 0, 0, 0, 1};

		p->tuple.source.word[0] = bpf_htonl(0xff020000);
		p->tuple.source.word[3] = bpf_htonl(1);
		__builtin_memcpy(ends.destination, all_nodes, ETH_ALEN);
	} else {
		answer.flags |= ND_SOLICITED;
	}
	for (int i = 0; i < ETH_ALEN; i++)
		answer.mac[i] = ends.source[i] = cairn_config.uplink_mac[i];
	p->tuple.destination = answer.target;
	sum = pseudo_sum(&p->tuple.source, &p->tuple.destination, PROTOCOL_ICMP6, sizeof(answer),
			 true);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer, sizeof(answer), fold_sum(sum));
	answer.check = ~fold_sum(sum);
	if (bpf_skb_change_tail(skb, ETH_HLEN + IP6_HEADER + sizeof(answer), 0) < 0 ||
	    bpf_skb_store_bytes(skb, 0, &ends, sizeof(ends), 0) < 0 ||
	    write_answer_header(skb, p, PROTOCOL_ICMP6, sizeof(answer), ND_HOP_LIMIT) < 0)
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + IP6_HEADER, &answer, sizeof(answer), 0);
}

static __always_inline bool is_solicitation(const struct packet *p)
{
	return p->is_v6 && p->has_l4 && p->tuple.protocol == PROTOCOL_ICMP6 &&
	       p->icmp_type == ND_SOLICITATION && p->ttl == ND_HOP_LIMIT &&
	       p->end_at >= p->l4_at + ND_BARE;
}

/* Whether there is somebody to answer: a host, or who has no address yet. */
static __always_inline bool solicitor_is_host(struct __sk_buff *skb, const struct packet *p)
{
	const struct cairn_addr *source = &p->tuple.source;
	__u8 mac;

	if (bpf_skb_load_bytes(skb, ETH_ALEN, &mac, sizeof(mac)) < 0 || mac & GROUP_MAC)
		return false;
	return address_is_host(source) ||
	       (!source->word[0] && !source->word[1] && !source->word[2] && !source->word[3]);
}

/* Whether a solicitation asks for an address that this node was elected to answer for. */
static __always_inline bool solicits_ours(struct __sk_buff *skb, const struct packet *p)
{
	struct cairn_addr target;
	struct cairn_vip *vip;

	if (!solicitor_is_host(skb, p) ||
	    bpf_skb_load_bytes(skb, p->l4_at + offsetof(struct neighbour_message, target), &target,
			       sizeof(target)) < 0)
		return false;
	vip = bpf_map_lookup_elem(&vips, &target);
	return vip && vip->flags & CAIRN_VIP_ARP;
}

static __always_inline int neighbour_answer(struct __sk_buff *skb, struct packet *p,
					    enum cairn_point point)
{
	if (write_advertisement(skb, p))
		return drop(skb, p, point, CAIRN_DROP_REWRITE);
	return forward(skb, point, CAIRN_ND_ANSWERED, bpf_redirect(skb->ifindex, 0));
}
