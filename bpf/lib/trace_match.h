/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Whether somebody asked to see a packet. */
#pragma once

#include "observe.h"

/* Bits in which an address differs from what is asked for. */
static __always_inline __u32 trace_apart(const struct cairn_addr *address,
					 const struct cairn_addr *prefix,
					 const struct cairn_addr *mask)
{
	__u32 apart = 0;

	for (int i = 0; i < 4; i++)
		apart |= (address->word[i] ^ prefix->word[i]) & mask->word[i];
	return apart;
}

/* Likewise of a packet from @source to @port of @destination. Without a branch: the verifier follows
 * every one, in every row. */
static __always_inline __u32 trace_differs(const struct cairn_trace_filter *row,
					   const struct cairn_addr *source,
					   const struct cairn_addr *destination, __be16 port)
{
	return trace_apart(source, &row->source, &row->source_mask) |
	       trace_apart(destination, &row->destination, &row->destination_mask) |
	       ((row->port ^ port) & row->port_mask);
}

__noinline int trace_matches(const struct packet *p)
{
	__u64 now = bpf_ktime_get_ns();

	if (!p)
		return 0;
	for (__u32 i = 0; i < CAIRN_TRACE_ROWS; i++) {
		__u32 key = i;
		const struct cairn_trace_filter *row = bpf_map_lookup_elem(&trace_filters, &key);

		if (!row || row->until_ns <= now ||
		    (row->protocol ^ p->tuple.protocol) & row->protocol_mask)
			continue;
		if (!trace_differs(row, &p->tuple.source, &p->tuple.destination,
				   p->tuple.destination_port) ||
		    !trace_differs(row, &p->tuple.destination, &p->tuple.source,
				   p->tuple.source_port))
			return 1;
	}
	return 0;
}
