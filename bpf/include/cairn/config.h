/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Facts of the node that do not change while a program runs: the read-only
 * section `.rodata.config`, one cairn_config, written before load. The verifier
 * sees constants and removes dead code. To change one, load the programs anew
 * and update the links in place.
 */
#pragma once

#include <cairn/types.h>

enum cairn_config_flag {
	CAIRN_CONFIG_XDP_HAND_OVER = 1, /* the XDP program hands over itself; else it only drops */
	CAIRN_CONFIG_EVENTS = 2, /* connections of every pod become events, policy or not */
	CAIRN_CONFIG_TRACE = 4, /* packets that fit a row of `trace_filters` become events */
};

struct cairn_config {
	struct cairn_addr node_address; /* this node's IPv4 address on the uplink, or :: */
	struct cairn_addr node_address6; /* its IPv6 address there, or :: */
	__u32 uplink_ifindex;
	__u32 flags; /* cairn_config_flag */
	__u32 entries_per_s; /* above this rate of new connections (per CPU) those handed over get no entry; 0: no limit */
	__u8 uplink_mac[6];
	__u16 drop_events; /* of one reason, on one CPU, in each interval */
	__u32 connection_events; /* of one kind, likewise */
	__u64 event_interval_ns; /* 0: everything becomes an event */
};

_Static_assert(sizeof(struct cairn_config) == 64, "ABI");
