/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Count what became of a packet, and tell user space of what is dropped and decided.
 *
 * A counter or event that cannot be written never costs a packet.
 */
#pragma once

#include "packet.h"
#include "settings.h"

#define TCX_NEXT -1
#define TCX_DROP 2

/* What a trace knows of the packet that this CPU judges; no program interrupts another. */
struct trace_note {
	struct packet before;
	struct packet after;
	__u32 verdict; /* cairn_verdict, as counted; CAIRN_PASS if nothing was */
	__u32 rule;
	bool read;
	bool read_after;
	bool matched;
};
CAIRN_MAP(trace_notes, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct trace_note, 0);

static __always_inline bool tracing(void)
{
	return cairn_config.flags & CAIRN_CONFIG_TRACE;
}

/* Returns NULL never, as the verifier cannot know. */
static __always_inline struct trace_note *trace_note_now(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&trace_notes, &zero);
}

static __always_inline void trace_note_verdict(enum cairn_point point, enum cairn_verdict verdict)
{
	struct trace_note *note;

	/* A socket's program runs where a packet's may interrupt it. */
	if (!tracing() || point == CAIRN_POINT_SOCKET || verdict == CAIRN_EVENT_LOST)
		return;
	note = trace_note_now();
	if (note)
		note->verdict = verdict;
}

static __always_inline void count(enum cairn_point point, enum cairn_verdict verdict, __u32 octets)
{
	__u32 index = point * CAIRN_VERDICT_SPACE + verdict;
	struct cairn_metric *metric = bpf_map_lookup_elem(&metrics, &index);

	if (metric) {
		metric->packets++;
		metric->octets += octets;
	}
	trace_note_verdict(point, verdict);
}

static __always_inline bool events_on(void)
{
	return cairn_config.flags & CAIRN_CONFIG_EVENTS;
}

/* What an event of @kind is counted under, so that none drowns another: its drop reason, or its kind. */
static __always_inline __u32 event_gate_of(enum cairn_event_kind kind, __u32 verdict)
{
	return kind == CAIRN_EVENT_KIND_DROP ? verdict : CAIRN_VERDICT_SPACE + kind;
}

/* Room in the ring for an event, with what is known of all; NULL if @most of those that are counted with
 * it have been told on this CPU, or the ring is full. What was not told is counted in the next that is.
 *
 * @index  its gate
 * @place  point << 8 | verdict
 */
static __always_inline struct cairn_event *event_begin_at(__u32 index, __u32 most,
							  enum cairn_event_kind kind, __u32 place,
							  __u32 octets)
{
	struct event_gate *gate = bpf_map_lookup_elem(&event_gates, &index);
	__u64 now = bpf_ktime_get_ns();
	struct cairn_event *event;

	if (!gate)
		return NULL;
	if (now - gate->since_ns >= cairn_config.event_interval_ns) {
		gate->since_ns = now;
		gate->count = 0;
	}
	if (cairn_config.event_interval_ns && gate->count >= most) {
		gate->suppressed++;
		return NULL;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count(place >> 8, CAIRN_EVENT_LOST, octets);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now;
	event->kind = kind;
	event->point = place >> 8;
	event->verdict = place;
	event->length = octets;
	event->suppressed = gate->suppressed;
	gate->suppressed = 0;
	gate->count++;
	return event;
}

/* Likewise, of a kind that has a gate of its own. */
static __always_inline struct cairn_event *event_begin(enum cairn_event_kind kind, __u32 place,
						       __u32 octets)
{
	__u32 most = kind == CAIRN_EVENT_KIND_DROP || kind == CAIRN_EVENT_KIND_AUDITED ||
				     kind == CAIRN_EVENT_KIND_PACKET
			     ? cairn_config.drop_events
			     : cairn_config.connection_events;

	return event_begin_at(event_gate_of(kind, place & 0xff), most, kind, place, octets);
}

static __always_inline void event_of_packet(struct cairn_event *event, const struct packet *p)
{
	event->source = p->tuple.source;
	event->destination = p->tuple.destination;
	event->source_port = p->tuple.source_port;
	event->destination_port = p->tuple.destination_port;
	event->protocol = p->tuple.protocol;
	event->tcp_flags = p->tcp_flags;
	event->icmp_type = p->icmp_type;
	event->icmp_code = p->icmp_code;
}

static __always_inline bool packet_opens_tcp(const struct packet *p)
{
	return p->tuple.protocol == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Tell of a packet that was dropped. @place is point << 8 | verdict, @rule the key of `policy_rules` that
 * decided, or 0. */
__noinline int observe_packet(struct packet *p, __u32 place, __u32 ifindex, __u32 octets, __u32 rule)
{
	struct cairn_event *event;

	if (!p)
		return 0;
	if (tracing()) {
		struct trace_note *note = trace_note_now();

		if (note)
			note->rule = rule;
	}
	event = event_begin(CAIRN_EVENT_KIND_DROP, place, octets);
	if (!event)
		return 0;
	event_of_packet(event, p);
	event->ifindex = ifindex;
	event->rule = rule;
	if (place >> 8 == CAIRN_POINT_POD)
		event->flags |= CAIRN_EVENT_FROM_POD;
	if (!packet_opens_tcp(p))
		event->flags |= CAIRN_EVENT_REPLY_UNKNOWN;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Tell what became of a service's address at the begin of a connection: the backend's, or another
 * node's that has it. @place is point << 8 | verdict. */
__noinline int observe_choice(struct packet *p, __u32 place, const struct cairn_backend *backend,
			      __u32 ifindex, __u32 octets)
{
	__u32 verdict = place & 0xff, index;
	struct cairn_node *node = NULL;
	struct cairn_event *event;

	if (!p || !backend)
		return 0;
	index = backend->node;
	if (verdict == CAIRN_HANDED_OVER) {
		node = bpf_map_lookup_elem(&nodes, &index);
		if (!node) /* nobody to hand it to: the drop is told instead */
			return 0;
	}
	event = event_begin(verdict == CAIRN_HANDED_OVER ? CAIRN_EVENT_KIND_HANDED_OVER
							 : CAIRN_EVENT_KIND_TRANSLATED,
			    place, octets);
	if (!event)
		return 0;
	event_of_packet(event, p);
	event->ifindex = ifindex;
	event->translated = node ? node->address : backend->address;
	event->translated_port = node ? 0 : backend->port;
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
