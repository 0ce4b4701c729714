/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Tell of single packets, each time one is judged: what it was, what became of it.
 *
 * All of it is gone from programs that are loaded without CAIRN_CONFIG_TRACE. While it is there, count()
 * notes the verdict, and the packet is read once more before and after.
 */
#pragma once

#include "observe.h"
#include "trace_match.h"

/* Read the packet as it comes. */
__noinline int trace_arrived(struct __sk_buff *skb)
{
	struct trace_note *note = trace_note_now();

	if (!note)
		return 0;
	__builtin_memset(note, 0, sizeof(*note));
	if (!packet_is_ip(skb) || is_foreign_vlan(skb) ||
	    (skb->mark & CAIRN_MARK_MASK) == CAIRN_MARK_PROOF ||
	    packet_read_ip(skb, &note->before) != CAIRN_PASS)
		return 0;
	packet_read_l4(skb, &note->before);
	note->read = true;
	note->matched = trace_matches(&note->before);
	return 0;
}

static __always_inline bool trace_moves(__u32 verdict)
{
	return verdict < CAIRN_FIRST_DROP && verdict != CAIRN_PING_ANSWERED &&
	       verdict != CAIRN_ARP_ANSWERED && verdict != CAIRN_ND_ANSWERED;
}

/* Say what an end has become: the source of an answer, else the destination. */
static __always_inline void trace_translated(struct cairn_event *event, const struct trace_note *note)
{
	const struct cairn_tuple *from = &note->before.tuple, *to = &note->after.tuple;

	if (!trace_moves(note->verdict) || !note->read_after)
		return;
	if (!address_equal(&from->destination, &to->destination) ||
	    from->destination_port != to->destination_port) {
		event->translated = to->destination;
		event->translated_port = to->destination_port;
	} else if (!address_equal(&from->source, &to->source)) {
		event->translated = to->source;
		event->translated_port = to->source_port;
		event->flags |= CAIRN_EVENT_REPLY;
	}
}

static __always_inline void trace_emit(const struct trace_note *note, __u32 point, __u32 ifindex,
				       __u32 octets)
{
	struct cairn_event *event = event_begin(CAIRN_EVENT_KIND_PACKET,
						point << 8 | (note->verdict & 0xff), octets);

	if (!event)
		return;
	event_of_packet(event, &note->before);
	event->ifindex = ifindex;
	event->rule = note->rule;
	trace_translated(event, note);
	bpf_ringbuf_submit(event, 0);
}

/* Read the packet as it goes on, and tell of it if it was asked for. */
__noinline int trace_left(struct __sk_buff *skb, __u32 point, int action)
{
	struct trace_note *note = trace_note_now();

	if (!note || !note->read)
		return 0;
	if (action != TCX_DROP && packet_is_ip(skb) &&
	    packet_read_ip(skb, &note->after) == CAIRN_PASS) {
		packet_read_l4(skb, &note->after);
		note->read_after = true;
	}
	if (note->matched || (note->read_after && trace_matches(&note->after)))
		trace_emit(note, point, skb->ifindex, skb->len);
	return 0;
}

static __always_inline void trace_begin(struct __sk_buff *skb)
{
	if (tracing())
		trace_arrived(skb);
}

/* Returns @action. */
static __always_inline int trace_end(struct __sk_buff *skb, enum cairn_point point, int action)
{
	if (tracing())
		trace_left(skb, point, action);
	return action;
}
