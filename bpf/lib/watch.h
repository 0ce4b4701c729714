/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Tell of connections: that they began, ended, or what policy made of them; and keep count of those that no
 * policy is about.
 *
 * All of it is gone from programs that are loaded without CAIRN_CONFIG_EVENTS, but for drops and audits.
 */
#pragma once

#include "observe.h"
#include "policing.h"

/* How a packet that begins a connection is told of: kind << 8 | verdict. */
static __always_inline __u32 observed_as(const struct policing *w, int verdict)
{
	return verdict == CAIRN_TO_PROXY && w->proxy
		       ? CAIRN_EVENT_KIND_REDIRECTED << 8 | CAIRN_TO_PROXY
		       : CAIRN_EVENT_KIND_NEW << 8 | CAIRN_PASS;
}

/* Tell of a packet and what was found for it. @what is kind << 8 | verdict. */
__noinline int observe_judged(struct __sk_buff *skb, const struct packet *p,
			      const struct policing *w, __u32 what)
{
	enum cairn_event_kind kind = what >> 8;
	struct cairn_event *event;
	__u32 flags;

	if (!p || !w)
		return 0;
	event = event_begin(kind, w->point << 8 | (what & 0xff), skb->len);
	if (!event)
		return 0;
	event_of_packet(event, p);
	event->ifindex = skb->ifindex;
	event->rule = w->rule;
	if (kind == CAIRN_EVENT_KIND_AUDITED)
		event->rule = w->audit_egress ? w->audit_egress : w->audit_ingress;
	if (kind == CAIRN_EVENT_KIND_REDIRECTED)
		event->translated_port = w->proxy;
	event->source_identity = w->source ? w->source : w->source_identity;
	event->destination_identity = w->destination ? w->destination : w->destination_identity;
	flags = w->flags;
	if (w->sender >= SENT_BY_PROXY)
		flags |= CAIRN_EVENT_FROM_PROXY;
	event->flags = flags;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Tell that the connection at @w->place is over, unless somebody has. */
__noinline int observe_closed(struct __sk_buff *skb, const struct policing *w,
			      struct cairn_policy_flow *flow)
{
	const struct cairn_flow_key *key;
	struct cairn_event *event;
	bool high;

	if (!w || !flow || __sync_fetch_and_or(&flow->ending, CAIRN_FLOW_END_TOLD) &
				   CAIRN_FLOW_END_TOLD)
		return 0;
	event = event_begin(CAIRN_EVENT_KIND_CLOSED, w->point << 8 | CAIRN_PASS, skb->len);
	if (!event)
		return 0;
	key = &w->place.key;
	high = flow->flags & CAIRN_FLOW_OPENED_HIGH;
	event->source = high ? key->high : key->low;
	event->destination = high ? key->low : key->high;
	event->protocol = key->protocol;
	if (key->protocol == IPPROTO_ICMP) {
		event->icmp_type = ICMP_ECHO;
	} else if (key->protocol == PROTOCOL_ICMP6) {
		event->icmp_type = ICMP6_ECHO;
	} else {
		event->source_port = high ? key->high_port : key->low_port;
		event->destination_port = high ? key->low_port : key->high_port;
	}
	event->ifindex = skb->ifindex;
	event->packets = flow->packets;
	event->octets = flow->octets;
	event->packets_back = flow->packets_back;
	event->octets_back = flow->octets_back;
	event->rule = flow->ingress_rule ? flow->ingress_rule : flow->egress_rule;
	if (flow->ending & CAIRN_FLOW_END_RESET)
		event->flags |= CAIRN_EVENT_RESET;
	if (flow->flags & CAIRN_FLOW_FROM_PROXY)
		event->flags |= CAIRN_EVENT_FROM_PROXY;
	if (flow->flags & CAIRN_FLOW_OPENER_UNKNOWN)
		event->flags |= CAIRN_EVENT_REPLY_UNKNOWN;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

static __always_inline bool watch_is_message(const struct packet *p)
{
	return packet_is_icmp(p) && !packet_is_echo(p) &&
	       p->icmp_type != (p->is_v6 ? ICMP6_ECHO_REPLY : ICMP_ECHO_REPLY);
}

/* Remember a connection that nobody judges, in the place of @old, which is over, if there is one. */
static __always_inline void watch_new(struct __sk_buff *skb, const struct packet *p,
				      struct policing *w, struct cairn_policy_flow *old)
{
	struct cairn_policy_flow *flow = &w->fresh;
	enum flow_guess guess = FLOW_BY_SOURCE;
	bool forward;

	if (p->tuple.protocol == IPPROTO_TCP && !flow_is_opening(p))
		guess = flow_guess_opener(p);
	forward = guess != FLOW_BY_DESTINATION;
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->created_ns = flow->seen_ns = clock_now(w);
	if (!w->place.from_high != forward)
		flow->flags |= CAIRN_FLOW_OPENED_HIGH;
	if (guess == FLOW_EITHER) {
		flow->flags |= CAIRN_FLOW_OPENER_UNKNOWN;
		w->flags |= CAIRN_EVENT_REPLY_UNKNOWN;
	}
	if (!forward)
		w->flags |= CAIRN_EVENT_REPLY;
	flow_touch(flow, p, skb->len, forward, flow->seen_ns);
	if (old) /* cheaper than to take a new one */
		*old = *flow;
	else
		bpf_map_update_elem(&policy_flows, &w->place.key, flow, BPF_ANY);
	observe_judged(skb, p, w, CAIRN_EVENT_KIND_NEW << 8 | CAIRN_PASS);
}

/* Keep count of a connection that no policy is about. @p's transport header has been read. */
__noinline int watch_flow(struct __sk_buff *skb, const struct packet *p, struct policing *w)
{
	struct cairn_policy_flow *flow;
	bool forward, over = false;

	if (!p || !w || watch_is_message(p) || (skb->mark & CAIRN_MARK_MASK) == CAIRN_MARK_PROOF)
		return 0;
	flow_find_place(p, &w->place);
	flow = bpf_map_lookup_elem(&policy_flows, &w->place.key);
	forward = flow && flow_is_forward(flow, w->place.from_high);
	if (flow && flow_is_over(flow, p, forward, w->sender >= SENT_FOR_POD)) {
		observe_closed(skb, w, flow);
		over = true;
	}
	if (!flow || over) {
		watch_new(skb, p, w, flow);
		return 0;
	}
	flow_touch(flow, p, skb->len, forward, clock_now(w));
	if (flow_has_ended(flow, p))
		observe_closed(skb, w, flow);
	return 0;
}

/* Likewise of a packet whose transport header nobody has read; one that cannot be read goes on. */
static __always_inline void watch_ends(struct __sk_buff *skb, struct packet *p,
				       const struct cairn_endpoint *from,
				       const struct cairn_endpoint *to, enum cairn_point point)
{
	struct policing *w = policing_begin(point);

	if (!w)
		return;
	if (from)
		policing_from_pod(w, from);
	if (to)
		policing_to_pod(w, to);
	if (packet_read_l4(skb, p) == CAIRN_PASS)
		watch_flow(skb, p, w);
}
