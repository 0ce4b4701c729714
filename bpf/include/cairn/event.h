/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Counters and events: what an observer sees of the data plane.
 *
 * map             type          key                       value
 * metrics         PERCPU_ARRAY  __u32 point*128 + verdict  cairn_metric
 * watched_netns   HASH          __u32 inode of a network  __u32 cairn_netns
 *                               namespace
 * events          RINGBUF       -                         cairn_event records
 *
 * Every packet that a program saw is counted under exactly one verdict of
 * verdict.h. Connections become events when they begin, when they end and
 * where something is decided about them; dropped packets do, up to so many per
 * CPU and reason in each config.event_interval_ns. What does not fit the ring
 * is counted under CAIRN_EVENT_LOST of the point where it was lost.
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
	CAIRN_POINT_KERNEL = 6, /* anywhere in the kernel's own network stack, of the node or a pod */
};

#define CAIRN_POINTS 7
#define CAIRN_VERDICT_SPACE 128
#define CAIRN_KERNEL_REASONS 256

/* Whose network namespace it is; drops of the kernel in others are not ours to tell. */
enum cairn_netns {
	CAIRN_NETNS_NODE = 1,
	CAIRN_NETNS_POD = 2,
};

/* What is done about a drop of the kernel, by its reason. */
enum cairn_kernel_telling {
	CAIRN_KERNEL_IGNORED = 0,
	CAIRN_KERNEL_TOLD = 1,
	CAIRN_KERNEL_TOLD_BUT_PONG = 2, /* but of an echo reply, which raw sockets got a copy of */
	CAIRN_KERNEL_TOLD_ON_ITS_WAY = 3, /* unless it had reached TCP or UDP, which say no why in health */
};

struct cairn_metric {
	__u64 packets;
	__u64 octets;
};

/* What an event tells. */
enum cairn_event_kind {
	CAIRN_EVENT_KIND_DROP = 0, /* a packet dropped for `verdict` */
	CAIRN_EVENT_KIND_NEW = 1, /* a connection's first packet, let through */
	CAIRN_EVENT_KIND_CLOSED = 2, /* a connection that ended, with its counts */
	CAIRN_EVENT_KIND_TRANSLATED = 3, /* a service's address became `translated` */
	CAIRN_EVENT_KIND_HANDED_OVER = 4, /* to the node `translated`, which has the backend */
	CAIRN_EVENT_KIND_REDIRECTED = 5, /* a connection given to a proxy at `translated_port` */
	CAIRN_EVENT_KIND_AUDITED = 6, /* a policy in audit mode would have decided otherwise */
	CAIRN_EVENT_KIND_PACKET = 7, /* one packet that a trace asked for */
	CAIRN_EVENT_KIND_KERNEL_DROP = 8, /* dropped by the kernel itself, for `kernel_reason` */
};

enum cairn_event_flag {
	CAIRN_EVENT_REPLY = 1, /* the packet answers: its destination opened the connection */
	CAIRN_EVENT_TO_POD = 2, /* judged on its way into a pod; else leaving one, or neither */
	CAIRN_EVENT_FROM_POD = 4,
	CAIRN_EVENT_FROM_PROXY = 8,
	CAIRN_EVENT_RESET = 16, /* closed by RST */
	CAIRN_EVENT_REPLY_UNKNOWN = 32, /* nothing is known of who opened it */
};

/* Addresses and ports are as the packet had them at the point; of CLOSED they
 * are the opener's as source. */
struct cairn_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	struct cairn_addr source;
	struct cairn_addr destination;
	struct cairn_addr translated; /* what the destination becomes, of PACKET with REPLY the source; :: if nothing */
	__u64 packets; /* CLOSED: as its opener sent them */
	__u64 octets;
	__u64 packets_back;
	__u64 octets_back;
	__u32 ifindex; /* where the program is attached; of KERNEL_DROP where it was, 0 in a pod */
	__u32 length; /* octets of the packet; a GSO packet counts whole */
	__u32 suppressed; /* events of this kind and reason not told before this one, on this CPU */
	__u32 rule; /* key of `policy_rules` that decided; 0: not a matter of policy */
	__u32 source_identity; /* 0: not looked up */
	__u32 destination_identity;
	__be16 source_port;
	__be16 destination_port;
	__be16 translated_port;
	__u16 kernel_reason; /* enum skb_drop_reason of this kernel; 255: one beyond */
	__u8 protocol;
	__u8 verdict; /* cairn_verdict */
	__u8 point; /* cairn_point */
	__u8 tcp_flags;
	__u8 kind; /* cairn_event_kind */
	__u8 flags; /* cairn_event_flag */
	__u8 icmp_type;
	__u8 icmp_code;
};

_Static_assert(sizeof(struct cairn_metric) == 16, "ABI");
_Static_assert(sizeof(struct cairn_event) == 128, "ABI");
