/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Refuse a packet in words: a TCP reset, or ICMP "unreachable". The packet is counted as
 * dropped for its reason, whether or not the answer can be given.
 *
 * The answer comes from the address that was asked, and finds its way by the node's routes,
 * since the packet may have come through another node.
 */
#pragma once

#include <bpf/bpf_core_read.h>

#include "frame.h"

#define ICMP_UNREACHABLE 3
#define ICMP6_UNREACHABLE 1
#define ICMP_HEADER 8
#define QUOTED_L4 8
#define CHECKSUM_PARTIAL 3

/* Of the kernel's sk_buff, what says who completes the transport checksum. */
struct sk_buff___cairn {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

struct refusal_code {
	__u8 v4;
	__u8 v6;
};

/* RFC 792 and RFC 4443 s3.1: nobody listens; nobody has the address. */
#define REFUSED_PORT ((struct refusal_code){3, 4})
#define REFUSED_ADDRESS ((struct refusal_code){1, 3})


/* Turn the segment into a reset as RFC 9293 s3.10.7.1 says. */
__noinline int write_reset(struct __sk_buff *skb, struct packet *p)
{
	struct tcphdr old, new = {};
	__u32 end = sizeof(new);

	if (!p || bpf_skb_load_bytes(skb, p->l4_at, &old, sizeof(old)) < 0 || old.rst)
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
	__u8 quote[IP6_HEADER + QUOTED_L4]; /* of which IPv4 uses the first 28 */
};

/* Turn the packet into an ICMP error that quotes its beginning. */
__noinline int write_unreachable(struct __sk_buff *skb, struct packet *p, __u32 codes)
{
	struct icmp_refusal answer = {};
	__u32 header = p && p->is_v6 ? IP6_HEADER : sizeof(struct iphdr);
	__u32 octets = ICMP_HEADER + header + QUOTED_L4;
	__u64 sum = 0;

	/* Options and extension headers would not leave room for the ports in the quote. */
	if (!p || p->l4_at != ETH_HLEN + header || p->end_at < p->l4_at + QUOTED_L4)
		return -1;
	if (p->is_v6) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN, answer.quote, IP6_HEADER + QUOTED_L4) < 0)
			return -1;
		answer.type = ICMP6_UNREACHABLE;
		answer.code = codes >> 8;
		sum = pseudo_sum(&p->tuple.source, &p->tuple.destination, PROTOCOL_ICMP6, octets,
				 true);
		sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer, sizeof(answer), fold_sum(sum));
	} else {
		if (bpf_skb_load_bytes(skb, ETH_HLEN, answer.quote,
				       sizeof(struct iphdr) + QUOTED_L4) < 0)
			return -1;
		answer.type = ICMP_UNREACHABLE;
		answer.code = codes & 0xff;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer, sizeof(answer), 0);
	}
	answer.check = ~fold_sum(sum);
	if (bpf_skb_change_tail(skb, ETH_HLEN + header + octets, 0) < 0 ||
	    write_answer_header(skb, p, p->is_v6 ? PROTOCOL_ICMP6 : IPPROTO_ICMP, octets,
				REPLY_TTL) < 0)
		return -1;
	if (p->is_v6)
		return bpf_skb_store_bytes(skb, ETH_HLEN + IP6_HEADER, &answer, sizeof(answer), 0);
	return bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &answer,
				   ICMP_HEADER + sizeof(struct iphdr) + QUOTED_L4, 0);
}

extern void *bpf_cast_to_kern_ctx(void *skb) __ksym;

/* Whether the sender left the transport checksum to the device: an answer that is complete
 * would be completed once more. */
static __always_inline bool checksum_is_partial(struct __sk_buff *skb)
{
	struct sk_buff___cairn *kernel = bpf_cast_to_kern_ctx(skb);

	return BPF_CORE_READ_BITFIELD_PROBED(kernel, ip_summed) == CHECKSUM_PARTIAL;
}

/* Whether a packet may be answered with an error at all (RFC 1122 s3.2.2, RFC 4443 s2.4 e). */
static __always_inline bool is_answerable(const struct packet *p)
{
	__be32 last = p->tuple.source.word[3];

	if (!p->has_l4 || p->is_fragment || packet_is_icmp(p))
		return false;
	if (p->is_v6)
		return p->tuple.source.word[0] && (p->tuple.source.word[0] & 0xff) != 0xff;
	return last && (last & bpf_htonl(0xf0000000)) != bpf_htonl(0xe0000000) &&
	       last != bpf_htonl(0xffffffff);
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
	if (!is_answerable(p) || checksum_is_partial(skb) || !may_refuse())
		return TCX_DROP;
	failed = reset ? write_reset(skb, p) : write_unreachable(skb, p, code.v6 << 8 | code.v4);
	return failed ? TCX_DROP : send_refusal(skb, point);
}
