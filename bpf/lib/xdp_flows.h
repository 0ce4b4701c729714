/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the XDP program remembers of the flows that it hands over: where each one's packets go, in
 * one line of memory, so that a packet of a known flow costs no look at any other map.
 *
 * A memory is only good while nothing changed: it names the revision of the maps and the moment
 * (about a second) in which it was made, and the Ethernet address that the flow comes from,
 * which then was no peer's. Any other packet goes the whole way, which renews the memory and tells
 * `conntrack` what was counted in it. So `conntrack` is the truth, late by a moment; an entry of it
 * is idle for longer before user space removes it, so a good memory has one.
 *
 * Every CPU has lines of its own: no lock, no line that goes to and fro. A network card
 * sends a flow to one CPU.
 */
#pragma once

#include "track.h"
#include "xdp_packet.h"

#define FLOW_WAYS 4
#define FLOW_PACKET (1ULL << 38) /* the packets count above the octets */

struct flow {
	struct cairn_tuple tuple;
	__u64 seen; /* packets and octets since `conntrack` was told, as FLOW_PACKET says */
	__u64 sender; /* as in xdp_frame; in the two lower octets the end of next_mac */
	__u32 moment;
	__u32 next_mac; /* the beginning of the Ethernet address of the backend's node */
};

_Static_assert(sizeof(struct flow) == 64, "one line of memory");

/* How many lines each CPU has: a power of two. Written before load, with the map's size, which
 * is that times the CPUs; 0 where nothing is handed over. */
const volatile struct {
	__u32 lines;
	__u32 moment_log; /* a moment in the kernel's jiffies, as a power of two */
} flow_config SEC(".rodata.flows") = {};

/* Only arrays that user space can map begin at a page, so that no element lies in two lines. */
CAIRN_MAP(flows, BPF_MAP_TYPE_ARRAY, 1, __u32, struct flow, BPF_F_MMAPABLE);

/* What a memory must name to be good now. The number of a moment comes again, but not for a
 * while: 2^14 moments. */
static __always_inline __u32 flow_moment(const struct cairn_revision *now)
{
	return now->number << 14 ^ (bpf_jiffies64() >> flow_config.moment_log & 0x3fff);
}

static __always_inline __u32 flow_hash(const struct cairn_tuple *t)
{
	__u64 word = (__u64)t->source.word[3] << 32 | take32(&t->source_port);

	word ^= (__u64)(t->source.word[0] ^ t->destination.word[3]) << 17;
	word ^= (__u64)(t->source.word[1] ^ t->source.word[2] >> 11);
	word *= HASH_PRIME;
	return word >> 40;
}

static __always_inline struct flow *flow_at(__u32 hash)
{
	__u32 index = bpf_get_smp_processor_id() * flow_config.lines + (hash & (flow_config.lines - 1));

	return bpf_map_lookup_elem(&flows, &index);
}

static __always_inline bool flow_is(const struct flow *flow, const struct cairn_tuple *t)
{
	const __u64 *one = (const __u64 *)&flow->tuple, *other = (const __u64 *)t;

	return one[4] == other[4] && one[1] == other[1] && one[0] == other[0] &&
	       one[3] == other[3] && one[2] == other[2];
}

/* The line that holds the flow, good or not; NULL if none does. */
static __always_inline struct flow *flow_find(const struct cairn_tuple *t, __u32 hash)
{
	for (int way = 0; way < FLOW_WAYS; way++) {
		struct flow *flow = flow_at(hash + way);

		if (flow && flow_is(flow, t))
			return flow;
	}
	return NULL;
}

static __always_inline bool flow_is_good(const struct flow *flow, const struct xdp_frame *f,
					 __u32 moment)
{
	return flow->moment == moment && !((flow->sender ^ f->sender) >> 16);
}

/* Whether a packet may go by memory alone: one that begins or ends a connection may not. */
static __always_inline bool flow_is_plain(const struct xdp_frame *f)
{
	return !(f->packet.tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST));
}

/* Tell @c what the flow's line has counted, and begin anew. */
static __always_inline void flow_tell(struct flow *flow, struct cairn_connection *c)
{
	c->packets += flow->seen / FLOW_PACKET;
	c->octets += flow->seen % FLOW_PACKET;
	flow->seen = 0;
}

/* The line holds no flow any more: those of packets are all FORWARD. */
static __always_inline void flow_forget(struct flow *flow)
{
	flow->tuple.direction = CAIRN_REVERSE;
}

/* Take a line for a flow that has none: one whose flow was not seen in this moment, or the first. */
static __noinline struct flow *flow_take(__u32 hash, __u32 moment)
{
	struct flow *flow = flow_at(hash);

	for (int way = 0; way < FLOW_WAYS; way++) {
		struct flow *other = flow_at(hash + way);

		if (other && other->moment != moment) {
			flow = other;
			break;
		}
	}
	if (flow && flow->seen) {
		struct cairn_tuple tuple = flow->tuple;
		struct cairn_connection *c = bpf_map_lookup_elem(&conntrack, &tuple);

		if (c)
			flow_tell(flow, c);
		flow->seen = 0;
	}
	return flow;
}
