/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Count what became of a packet, and tell user space of a sample of the drops.
 *
 * A counter or event that cannot be written never costs a packet.
 */
#pragma once

#include "packet.h"
#include "settings.h"

#define TCX_NEXT -1
#define TCX_DROP 2

static __always_inline void count(enum cairn_point point, enum cairn_verdict verdict, __u32 octets)
{
	__u32 index = point * CAIRN_VERDICT_SPACE + verdict;
	struct cairn_metric *metric = bpf_map_lookup_elem(&metrics, &index);

	if (metric) {
		metric->packets++;
		metric->octets += octets;
	}
}

/* Write one event, unless this CPU wrote one of the same reason a moment ago.
 *
 * @rule  key of `policy_rules` that decided, or 0
 */
__noinline int observe_packet(struct packet *p, __u32 place, __u32 ifindex, __u32 octets, __u32 rule)
{
	__u32 verdict = place & 0xff;
	struct event_gate *gate = bpf_map_lookup_elem(&event_gates, &verdict);
	__u64 now = bpf_ktime_get_ns();

	if (!p || !gate)
		return 0;
	if (now < gate->next_ns) {
		gate->suppressed++;
		return 0;
	}

	struct cairn_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(place >> 8, CAIRN_EVENT_LOST, octets);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now;
	event->source = p->tuple.source;
	event->destination = p->tuple.destination;
	event->source_port = p->tuple.source_port;
	event->destination_port = p->tuple.destination_port;
	event->protocol = p->tuple.protocol;
	event->verdict = verdict;
	event->point = place >> 8;
	event->tcp_flags = p->tcp_flags;
	event->ifindex = ifindex;
	event->length = octets;
	event->suppressed = gate->suppressed;
	event->rule = rule;
	gate->suppressed = 0;
	gate->next_ns = now + cairn_config.event_interval_ns;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* The only way to drop a packet. */
static __always_inline int drop(struct __sk_buff *skb, struct packet *p, enum cairn_point point,
				enum cairn_verdict reason)
{
	count(point, reason, skb->len);
	observe_packet(p, point << 8 | reason, skb->ifindex, skb->len, 0);
	return TCX_DROP;
}

/* Count a packet that goes on; @action is what the hook returns. */
static __always_inline int forward(struct __sk_buff *skb, enum cairn_point point,
				   enum cairn_verdict verdict, int action)
{
	count(point, verdict, skb->len);
	return action;
}

static __always_inline int pass(struct __sk_buff *skb, enum cairn_point point)
{
	return forward(skb, point, CAIRN_PASS, TCX_NEXT);
}
