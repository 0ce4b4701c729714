/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Connections of pods: who opened them, what was decided, how they went. */
#pragma once

#include "packet.h"

#define SEEN_STEP_NS 1000000000ULL /* how coarse `seen_ns` is: a write for each packet costs more */
#define SILENCE_NS (120 * 1000000000ULL) /* after which an answer that is not TCP answers nothing */
#define FIRST_EPHEMERAL_PORT 32768 /* linux/net/ipv4/af_inet.c: ip_local_port_range */

struct flow_place {
	struct cairn_flow_key key;
	__u32 from_high; /* whether the packet's source is the `high` end */
};

/* Whether @a comes after @b, as octets. */
static __always_inline bool address_is_after(const struct cairn_addr *a, const struct cairn_addr *b)
{
	for (int i = 0; i < 4; i++)
		if (a->word[i] != b->word[i])
			return bpf_ntohl(a->word[i]) > bpf_ntohl(b->word[i]);
	return false;
}

/* Put the ends of a packet in order. ICMP has the identifier for both ports. */
static __always_inline void flow_find_place(const struct packet *p, struct flow_place *out)
{
	bool icmp = packet_is_icmp(p);
	__be16 source_port = icmp ? p->icmp_id : p->tuple.source_port;
	__be16 destination_port = icmp ? p->icmp_id : p->tuple.destination_port;
	bool from_high = address_equal(&p->tuple.source, &p->tuple.destination)
				 ? bpf_ntohs(source_port) > bpf_ntohs(destination_port)
				 : address_is_after(&p->tuple.source, &p->tuple.destination);

	out->key.low = from_high ? p->tuple.destination : p->tuple.source;
	out->key.high = from_high ? p->tuple.source : p->tuple.destination;
	out->key.low_port = from_high ? destination_port : source_port;
	out->key.high_port = from_high ? source_port : destination_port;
	out->key.protocol = p->tuple.protocol;
	__builtin_memset(out->key.pad, 0, sizeof(out->key.pad));
	out->from_high = from_high;
}

/* Whether a packet from that end was sent by who opened the connection. */
static __always_inline bool flow_is_forward(const struct cairn_policy_flow *flow, __u32 from_high)
{
	return !(flow->flags & CAIRN_FLOW_OPENED_HIGH) == !from_high;
}

/* Whether the packet opens a connection: the first segment, without ACK. */
static __always_inline bool flow_is_opening(const struct packet *p)
{
	return p->tuple.protocol == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Whether the entry is of a time without policy, and says less of who opened the connection than policy
 * can find out. */
static __always_inline bool flow_is_unsure(const struct cairn_policy_flow *flow)
{
	return flow->flags & CAIRN_FLOW_OPENER_UNKNOWN && !flow->egress_revision;
}

/* Whether the packet belongs to no connection that the entry can stand for: it opens one anew, or it
 * answers, without TCP's numbers, what was asked long ago. */
static __always_inline bool flow_is_over(const struct cairn_policy_flow *flow,
					 const struct packet *p, bool forward, bool from_proxy)
{
	if (p->tuple.protocol != IPPROTO_TCP)
		return !forward && bpf_ktime_get_coarse_ns() - flow->seen_ns > SILENCE_NS;
	if (!flow_is_opening(p))
		return false;
	return !forward || flow->flags & CAIRN_FLOW_CLOSING ||
	       (flow->flags & CAIRN_FLOW_FROM_PROXY && !from_proxy);
}

static __always_inline void flow_note_end(struct cairn_policy_flow *flow, const struct packet *p,
					  bool forward)
{
	__u32 now = p->tcp_flags & TCP_RST ? CAIRN_FLOW_END_RESET : 0;

	if (p->tcp_flags & TCP_FIN)
		now |= forward ? CAIRN_FLOW_END_FIN : CAIRN_FLOW_END_FIN_BACK;
	if (now & ~flow->ending)
		__sync_fetch_and_or(&flow->ending, now);
	if (!(flow->flags & CAIRN_FLOW_CLOSING))
		flow->flags |= CAIRN_FLOW_CLOSING;
}

/* Note a packet; a lost race with another CPU costs a count. */
static __always_inline void flow_touch(struct cairn_policy_flow *flow, const struct packet *p,
				       __u32 octets, bool forward, __u64 now)
{
	if (now - flow->seen_ns > SEEN_STEP_NS)
		flow->seen_ns = now;
	if (forward) {
		flow->packets++;
		flow->octets += octets;
	} else {
		flow->packets_back++;
		flow->octets_back += octets;
		if (!(flow->flags & CAIRN_FLOW_ANSWERED))
			flow->flags |= CAIRN_FLOW_ANSWERED;
	}
	if (p->tcp_flags & (TCP_FIN | TCP_RST))
		flow_note_end(flow, p, forward);
}

/* Whether the packet is the last that matters: a reset, or what comes after both ends have closed. Nobody
 * has told of the end yet. */
static __always_inline bool flow_has_ended(const struct cairn_policy_flow *flow,
					   const struct packet *p)
{
	__u32 both = CAIRN_FLOW_END_FIN | CAIRN_FLOW_END_FIN_BACK, ending = flow->ending;

	if (!ending || ending & CAIRN_FLOW_END_TOLD)
		return false;
	return p->tcp_flags & TCP_RST || ((ending & both) == both && !(p->tcp_flags & TCP_FIN));
}

enum flow_guess {
	FLOW_EITHER = 0,
	FLOW_BY_SOURCE = 1,
	FLOW_BY_DESTINATION = 2,
};

/* Who opened a connection of which the first segment was not seen: one who has a port of those that
 * are given out to clients, towards one who has not. */
static __always_inline enum flow_guess flow_guess_opener(const struct packet *p)
{
	bool source = bpf_ntohs(p->tuple.source_port) >= FIRST_EPHEMERAL_PORT;
	bool destination = bpf_ntohs(p->tuple.destination_port) >= FIRST_EPHEMERAL_PORT;

	if (source == destination)
		return FLOW_EITHER;
	return source ? FLOW_BY_SOURCE : FLOW_BY_DESTINATION;
}
