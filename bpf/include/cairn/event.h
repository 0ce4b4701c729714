/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Counters and events: what an observer sees of the data plane.
 *
 * map             type          key                       value
 * metrics         PERCPU_ARRAY  __u32 point*128 + verdict  cairn_metric
 * events          RINGBUF       -                         cairn_event records
 *
 * Every packet that a program saw is counted under exactly one verdict of
 * verdict.h. Drops are sampled into `events`: at most one record per
 * CPU and reason in each config.event_interval_ns.
 */
#pragma once

#include <cairn/types.h>
#include <cairn/verdict.h>

/* Where a packet was judged. */
enum cairn_point {
	CAIRN_POINT_UPLINK = 0, /* arriving on the uplink */
	CAIRN_POINT_POD = 1, /* leaving a pod */
	CAIRN_POINT_SOCKET = 2, /* connect, sendmsg in a cgroup */
	CAIRN_POINT_HOST = 3, /* leaving the node's own stack, over the uplink or into a pod */
	CAIRN_POINT_OVERLAY = 4, /* arriving through the overlay */
	CAIRN_POINT_XDP = 5, /* arriving on the uplink, before the kernel makes a packet of it */
};

#define CAIRN_POINTS 6
#define CAIRN_VERDICT_SPACE 128

struct cairn_metric {
	__u64 packets;
	__u64 octets;
};

struct cairn_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	struct cairn_addr source;
	struct cairn_addr destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 verdict; /* cairn_verdict */
	__u8 point; /* cairn_point */
	__u8 tcp_flags;
	__u32 ifindex; /* where the program is attached */
	__u32 length; /* octets of the packet; a GSO packet counts whole */
	__u32 suppressed; /* drops of this reason not sampled before this one, on this CPU */
	__u32 rule; /* key of `policy_rules` that decided; 0: not a matter of policy */
};

_Static_assert(sizeof(struct cairn_metric) == 16, "ABI");
_Static_assert(sizeof(struct cairn_event) == 64, "ABI");
