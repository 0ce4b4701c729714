/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Packets that somebody asked to see, one by one.
 *
 * map             type          key                       value
 * trace_filters   ARRAY         __u32 row                 cairn_trace_filter
 *
 * Programs look here only if they were loaded with CAIRN_CONFIG_TRACE, as they are while somebody
 * traces. A packet that one row fits, in either direction, as it came or as it went on, becomes an event
 * of kind PACKET at each point where it is judged. Rows end by themselves.
 */
#pragma once

#include <cairn/types.h>

#define CAIRN_TRACE_ROWS 32

struct cairn_trace_filter {
	struct cairn_addr source;
	struct cairn_addr source_mask; /* ::: any */
	struct cairn_addr destination;
	struct cairn_addr destination_mask;
	__u64 until_ns; /* CLOCK_MONOTONIC; 0: an empty row */
	__be16 port; /* of the destination, or of an answer's source */
	__be16 port_mask; /* 0: any */
	__u8 protocol;
	__u8 protocol_mask; /* 0: any */
	__u8 pad[2];
};

_Static_assert(sizeof(struct cairn_trace_filter) == 80, "ABI");
