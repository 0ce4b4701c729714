/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Refuse a packet in words: a TCP reset, or ICMP "unreachable". The packet is counted as
 * dropped for its reason, whether or not the answer can be given.
 *
 * The answer comes from the address that was asked, and finds its way by the node's routes,
 * since the packet may have come through another node. A packet whose checksum the sender left to the
 * device is not answered: the answer, which is complete, would be completed once more.
 */
#pragma once

#include "checksum.h"
#include "frame.h"

#define ICMP_UNREACHABLE 3
#define ICMP6_UNREACHABLE 1
#define ICMP6_TOO_BIG 2
#define ICMP_HEADER 8
#define QUOTED_L4 8
#define FRAGMENT_HEADER 8

struct refusal_code {
	__u8 v4;
	__u8 v6;
};

/* RFC 792 and RFC 4443 s3.1: nobody listens; nobody has the address. */
#define REFUSED_PORT ((struct refusal_code){3, 4})
#define REFUSED_ADDRESS ((struct refusal_code){1, 3})
/* RFC 792 and RFC 4443 s3.2. */
#define REFUSED_TOO_BIG ((struct refusal_code){4, 0})

/* Turn the segment into a reset as RFC 9293 s3.10.7.1 says. */
__noinline int write_reset(struct __sk_buff *skb, struct packet *p)
{
	struct tcphdr old, new = {};
	__u32 end = sizeof(new);

	if (!p || bpf_skb_load_bytes(skb, p->l4_at, &old, sizeof(old)) < 0 || old.rst ||
	    old.doff * 4 < sizeof(old) || p->l4_at + old.doff * 4 > p->end_at)
		return -1;

	__u32 taken = p->end_at - p->l4_at - old.doff * 4 + old.syn + old.fin;

	new.source = old.dest;
	new.dest = old.source;
	new.doff = sizeof(new) / 4;
	new.rst = 1;
	if (old.ack) {
		new.seq = old.ack_seq;
	} else {
		new.ack = 1;
		new.ack_seq = bpf_htonl(bpf_ntohl(old.seq) + taken);
	}

	__u64 sum = pseudo_sum(&p->tuple.source, &p->tuple.destination, IPPROTO_TCP, end, p->is_v6);

	new.check = ~fold_sum(bpf_csum_diff(NULL, 0, (__be32 *)&new, sizeof(new),
					    fold_sum(sum)));
	end += p->is_v6 ? IP6_HEADER : sizeof(struct iphdr);
	if (bpf_skb_change_tail(skb, ETH_HLEN + end, 0) < 0 ||
	    write_answer_header(skb, p, IPPROTO_TCP, sizeof(new), REPLY_TTL) < 0)
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + end - sizeof(new), &new, sizeof(new), 0);
}

struct icmp_refusal {
	__u8 type;
	__u8 code;
	__be16 check;
	__be32 unused;
	__u8 quote[IP6_HEADER + FRAGMENT_HEADER + QUOTED_L4]; /* its beginning, then zeroes */
};

#define QUOTE_IP4 (sizeof(struct iphdr) + QUOTED_L4)
#define QUOTE_IP6 (IP6_HEADER + QUOTED_L4)
#define QUOTE_FRAGMENT (QUOTE_IP6 + FRAGMENT_HEADER)

/* How much is quoted: to the ports. 0 if options or other extension headers stand before them. */
static __always_inline __u32 quote_octets(const struct packet *p)
{
	__u32 octets = p->l4_at - ETH_HLEN + QUOTED_L4;

	if (p->end_at < p->l4_at + QUOTED_L4)
		return 0;
	if (p->is_v6)
		return octets == QUOTE_IP6 || octets == QUOTE_FRAGMENT ? octets : 0;
	return octets == QUOTE_IP4 ? octets : 0;
}

static __always_inline int read_quote(struct __sk_buff *skb, __u8 *quote, __u32 octets)
{
	if (octets == QUOTE_IP4)
		return bpf_skb_load_bytes(skb, ETH_HLEN, quote, QUOTE_IP4);
	if (octets == QUOTE_IP6)
		return bpf_skb_load_bytes(skb, ETH_HLEN, quote, QUOTE_IP6);
	return bpf_skb_load_bytes(skb, ETH_HLEN, quote, QUOTE_FRAGMENT);
}

/* Turn the packet into an ICMP error that quotes its beginning: "unreachable", or if @mtu is not 0
 * "too big" for it (RFC 1191 s4, RFC 4443 s3.2). */
__noinline int write_unreachable(struct __sk_buff *skb, struct packet *p, __u32 codes, __u32 mtu)
{
	struct icmp_refusal answer = {.unused = bpf_htonl(mtu)};
	__u32 quoted = p ? quote_octets(p) : 0;
	__u32 header = p && p->is_v6 ? IP6_HEADER : sizeof(struct iphdr);
	__u32 octets = ICMP_HEADER + quoted;
	__u64 sum = 0;

	if (!p || !quoted || read_quote(skb, answer.quote, quoted) < 0)
		return -1;
	if (p->is_v6) {
		answer.type = mtu ? ICMP6_TOO_BIG : ICMP6_UNREACHABLE;
		answer.code = codes >> 8;
		sum = fold_sum(pseudo_sum(&p->tuple.source, &p->tuple.destination, PROTOCOL_ICMP6,
					  octets, true));
	} else {
		answer.type = ICMP_UNREACHABLE;
		answer.code = codes & 0xff;
	}
	answer.check = ~fold_sum(bpf_csum_diff(NULL, 0, (__be32 *)&answer, sizeof(answer), sum));
	if (bpf_skb_change_tail(skb, ETH_HLEN + header + octets, 0) < 0 ||
	    write_answer_header(skb, p, p->is_v6 ? PROTOCOL_ICMP6 : IPPROTO_ICMP, octets,
				REPLY_TTL) < 0)
		return -1;
	if (octets == ICMP_HEADER + QUOTE_IP4)
		return bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &answer,
					   ICMP_HEADER + QUOTE_IP4, 0);
	if (octets == ICMP_HEADER + QUOTE_IP6)
		return bpf_skb_store_bytes(skb, ETH_HLEN + IP6_HEADER, &answer,
					   ICMP_HEADER + QUOTE_IP6, 0);
	return bpf_skb_store_bytes(skb, ETH_HLEN + IP6_HEADER, &answer,
				   ICMP_HEADER + QUOTE_FRAGMENT, 0);
}

/* Whether a packet may be answered with an error at all (RFC 1122 s3.2.2, RFC 4443 s2.4 e). */
static __always_inline bool is_answerable(const struct __sk_buff *skb, const struct packet *p)
{
	if (!p->has_l4 || (packet_is_icmp(p) && !packet_is_echo(p)) || is_group_frame(skb))
		return false;
	return address_is_host(&p->tuple.source);
}

/* Send the answer: back into the pod that asked, or by the node's routes. */
static __always_inline int send_refusal(struct __sk_buff *skb, enum cairn_point point)
{
	if (point == CAIRN_POINT_POD)
		return turn_ethernet(skb) < 0 ? TCX_DROP : bpf_redirect(skb->ifindex, 0);
	return bpf_redirect_neigh(cairn_config.uplink_ifindex, NULL, 0, 0);
}

/* Refuse the packet for @reason, telling the sender @code if it is not TCP to a port. */
static __always_inline int refuse(struct __sk_buff *skb, struct packet *p, enum cairn_point point,
				  enum cairn_verdict reason, struct refusal_code code)
{
	bool reset = p->tuple.protocol == IPPROTO_TCP && code.v4 == REFUSED_PORT.v4;
	int failed;

	drop(skb, p, point, reason);
	if (!is_answerable(skb, p) || (reset && p->is_fragment) || checksum_is_partial(skb) ||
	    !may_refuse())
		return TCX_DROP;
	failed = reset ? write_reset(skb, p) : write_unreachable(skb, p, code.v6 << 8 | code.v4, 0);
	return failed ? TCX_DROP : send_refusal(skb, point);
}

/* Whether the sender of a packet that is too large for the way ahead is to be told, if it can be.
 * What @may_be_cut on the way goes on: IPv4 packets that allow it, and fragments, whose sender cannot
 * know how large a datagram may be. */
static __always_inline bool must_tell_too_big(struct __sk_buff *skb, const struct packet *p,
					      bool may_be_cut)
{
	__be16 fragment = 0;

	if (!is_answerable(skb, p) || checksum_is_partial(skb))
		return false;
	if (!may_be_cut)
		return true;
	if (p->is_fragment)
		return false;
	return p->is_v6 ||
	       (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, frag_off), &fragment,
				   sizeof(fragment)) == 0 &&
		fragment & bpf_htons(IP_DONT_FRAGMENT));
}

/* Drop the packet and tell its sender that only @mtu octets fit. */
static __always_inline int refuse_too_big(struct __sk_buff *skb, struct packet *p,
					  enum cairn_point point, __u32 mtu)
{
	__u32 codes = REFUSED_TOO_BIG.v6 << 8 | REFUSED_TOO_BIG.v4;

	drop(skb, p, point, CAIRN_DROP_TOO_BIG);
	return write_unreachable(skb, p, codes, mtu) ? TCX_DROP : send_refusal(skb, point);
}
