/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Connections of pods: those that policy is about, and with CAIRN_CONFIG_EVENTS all of them.
 *
 * map              type          key                       value
 * policy_flows     LRU_HASH      cairn_flow_key            cairn_policy_flow
 *
 * User space deletes what is over or silent, and tells of what went silent. One that makes room for
 * others goes untold.
 */
#pragma once

#include <cairn/types.h>

/* A connection, the same key for packets of both ways: `low` is the lesser address, compared
 * as octets, and with equal addresses the lesser port. ICMP echo has the identifier as the port
 * of both ends; other ICMP none. */
struct cairn_flow_key {
	struct cairn_addr low;
	struct cairn_addr high;
	__be16 low_port;
	__be16 high_port;
	__u8 protocol;
	__u8 pad[3];
};

enum cairn_flow_flag {
	CAIRN_FLOW_OPENED_HIGH = 1, /* the `high` end opened it */
	CAIRN_FLOW_FROM_PROXY = 2, /* the proxy's own connection to the destination */
	CAIRN_FLOW_ANSWERED = 4, /* the other end has sent, too */
	CAIRN_FLOW_CLOSING = 8, /* TCP: FIN or RST seen */
	CAIRN_FLOW_SERVED = 16, /* with FROM_PROXY: a proxy has judged it for who is reached, too */
	CAIRN_FLOW_AUDITED = 32, /* was counted as one that a policy in audit mode would decide otherwise */
	CAIRN_FLOW_OPENER_UNKNOWN = 64, /* begun before it was seen: the opener is taken for the first sender */
};

/* How TCP ends, and whether an event has told of it. */
enum cairn_flow_end_flag {
	CAIRN_FLOW_END_FIN = 1, /* the opener has closed */
	CAIRN_FLOW_END_FIN_BACK = 2, /* the other end has */
	CAIRN_FLOW_END_RESET = 4,
	CAIRN_FLOW_END_TOLD = 8, /* CLOSED was told, by who set this */
};

struct cairn_policy_flow {
	__u64 created_ns; /* CLOCK_MONOTONIC (coarse) */
	__u64 seen_ns;
	__u64 packets; /* as its opener sent them */
	__u64 octets;
	__u64 packets_back;
	__u64 octets_back;
	__u32 egress_revision; /* when it was judged for who opened it; 0: not yet, or no policy was about it */
	__u32 ingress_revision; /* likewise for who is reached */
	__u32 egress_rule; /* which rule let it through */
	__u32 ingress_rule;
	__be16 proxy; /* port of the listener that has it; 0: none */
	__u8 flags; /* cairn_flow_flag */
	__u8 pad[1];
	__u32 ending; /* cairn_flow_end_flag */
};

_Static_assert(sizeof(struct cairn_flow_key) == 40, "ABI");
_Static_assert(sizeof(struct cairn_policy_flow) == 72, "ABI");
