/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Services and backends: who is reached at an address, and who answers.
 *
 * map             type          key                       value
 * vips            HASH          cairn_addr                cairn_vip
 * services        HASH          cairn_service_key         cairn_service
 * service_slots   HASH          cairn_slot_key            __u32 backend id
 * backends        HASH          __u32 backend id          cairn_backend
 * maglev          HASH_OF_MAPS  __u32 service id          ARRAY of one cairn_maglev
 * draining        HASH          __u32 service id          __u32 backend id
 *
 * A service id stands for one service port with one set of backends; several
 * frontends (ClusterIP, load-balancer address) may share it. Ids are local to
 * the node and never 0. An entry of `conntrack` is followed only while its backend's id
 * still stands for the same address.
 *
 * `draining` is optional: a backend of this node that still serves while it
 * terminates, for a service with no ready backend here. It takes connections that
 * another node, whose table is a moment older, still hands over; without it they
 * are dropped (HANDED_NO_LOCAL) and wait for the client to try again.
 *
 * Write order for no gap: backends, service_slots, maglev, services, vips.
 * Remove in the opposite order.
 */
#pragma once

#include <cairn/types.h>

/* Size of a Maglev table: a prime. Every node must hold the same table (in
 * terms of backends; the ids in it are the node's own). */
#define CAIRN_MAGLEV_SIZE 65537

enum cairn_vip_flag {
	CAIRN_VIP_PING = 1, /* the node answers ICMP echo for it */
	CAIRN_VIP_ARP = 2, /* the node answers ARP for it: set on one node of a segment */
};

/* An address of which this node owns every port: what no service takes is
 * dropped with a reason and never reaches the node's own stack. Load-balancer
 * addresses only; a ClusterIP is not in `vips`. */
struct cairn_vip {
	__u32 flags; /* cairn_vip_flag */
	__u32 pad;
};

struct cairn_service_key {
	struct cairn_addr address;
	__be16 port;
	__u8 protocol; /* IP protocol number */
	__u8 pad;
};

enum cairn_service_flag {
	CAIRN_SERVICE_AFFINITY = 1, /* sessionAffinity: ClientIP */
	CAIRN_SERVICE_LOCAL = 2, /* only backends of this node: traffic policy Local */
};

/* `slots` entries (service id, 0 .. slots-1) of service_slots list the ready
 * backends; the first `local_slots` of them are pods of this node. */
struct cairn_service {
	__u32 id;
	__u32 flags; /* cairn_service_flag */
	__u32 slots;
	__u32 local_slots;
};

struct cairn_slot_key {
	__u32 service;
	__u32 slot;
};

enum cairn_backend_flag {
	CAIRN_BACKEND_LOCAL = 1, /* on this node: a pod of `endpoints`, or the node itself */
	CAIRN_BACKEND_TERMINATING = 2, /* serves what is established, gets nothing new */
};

struct cairn_backend {
	struct cairn_addr address;
	__be16 port;
	__u16 flags; /* cairn_backend_flag */
	__u32 node; /* key of `nodes`; 0 if no node of Cairn has it */
};

/* One Maglev table: backend ids by hash modulo CAIRN_MAGLEV_SIZE. It is replaced as
 * a whole by swapping the inner map. A service reached only by cgroup programs
 * (no address in `vips`) needs none. */
struct cairn_maglev {
	__u32 backend[CAIRN_MAGLEV_SIZE];
};

_Static_assert(sizeof(struct cairn_vip) == 8, "ABI");
_Static_assert(sizeof(struct cairn_service_key) == 20, "ABI");
_Static_assert(sizeof(struct cairn_service) == 16, "ABI");
_Static_assert(sizeof(struct cairn_slot_key) == 8, "ABI");
_Static_assert(sizeof(struct cairn_backend) == 24, "ABI");
_Static_assert(sizeof(struct cairn_maglev) == 262148, "ABI");
