/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Services and backends: who is reached at an address, and who answers.
 *
 * map               type          key                       value
 * vips              HASH          cairn_addr                cairn_vip
 * services          HASH          cairn_service_key         cairn_service
 * service_slots     HASH          cairn_slot_key            __u32 backend id
 * backends          HASH          __u32 backend id          cairn_backend
 * backend_counters  HASH          __u32 backend id          cairn_backend_counters
 * maglev            HASH_OF_MAPS  __u32 service id          ARRAY of one cairn_maglev
 * maglev_small      HASH_OF_MAPS  __u32 service id          ARRAY of one cairn_maglev_small
 * table_digests     HASH          __u32 service id          __u64 of what the table was made from
 * draining          HASH          __u32 service id          __u32 backend id
 * source_ranges     LPM_TRIE      cairn_source_range        __u32 1
 * affinity          LRU_HASH      cairn_affinity_key        cairn_affinity
 * pools             LPM_TRIE      cairn_prefix              __u32 1
 * denied            LPM_TRIE      cairn_prefix              __u32 1
 * source_rates      LRU_HASH      cairn_rate_key            cairn_rate
 * revision          ARRAY of one  __u32 0                   cairn_revision
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
 * `pools` holds the blocks of the load-balancer pools: an address of one that is not
 * in `vips` is nobody's, and who asks for it is told so. `denied` holds sources whose packets
 * are dropped as they arrive on the uplink.
 *
 * `revision` changes after every change of the maps above, of `nodes` and of `peers`: the XDP program
 * remembers by it what it has looked up.
 *
 * Write order for no gap: backends, service_slots, maglev, source_ranges, services, vips.
 * Remove in the opposite order.
 */
#pragma once

#include <cairn/types.h>

/* Size of a Maglev table: a prime. Every node must hold the same table (in
 * terms of backends; the ids in it are the node's own). */
#define CAIRN_MAGLEV_SIZE 65537
/* The size for a service of few backends, whose shares are even without the memory. Every
 * node goes from one to the other at the same number of backends. The kernel's header for
 * an array and this many ids fit 16 KiB; a few more, and each table takes 32. */
#define CAIRN_MAGLEV_SMALL_SIZE 3967

enum cairn_vip_flag {
	CAIRN_VIP_PING = 1, /* the node answers ICMP echo for it */
	CAIRN_VIP_ARP = 2, /* the node answers ARP and ND for it: set on one node of a segment */
	CAIRN_VIP_SHARED = 4, /* what no service takes goes on to the node's own stack */
	CAIRN_VIP_NODE = 8, /* the address of a node, this or another: node ports listen there */
};

/* An address that clients outside the cluster use. Unless it is SHARED this node owns
 * every port: what no service takes is refused with a reason and never reaches the
 * node's own stack. Load-balancer addresses; SHARED: external IPs and the nodes' own
 * addresses. A ClusterIP is not in `vips`. */
struct cairn_vip {
	__u32 flags; /* cairn_vip_flag */
	__u32 pad;
};

/* The address :: or 0.0.0.0 stands for every address in `vips` of its family that is a NODE's:
 * node ports. What stands under the very address (a host port) goes first. */
struct cairn_service_key {
	struct cairn_addr address;
	__be16 port;
	__u8 protocol; /* IP protocol number */
	__u8 pad;
};

enum cairn_service_flag {
	CAIRN_SERVICE_AFFINITY = 1, /* sessionAffinity: ClientIP */
	CAIRN_SERVICE_LOCAL = 2, /* packets reach only backends of this node: traffic policy Local */
	CAIRN_SERVICE_SOURCE_RANGES = 4, /* only clients in `source_ranges` */
	CAIRN_SERVICE_SOCKET_LOCAL = 8, /* sockets reach only backends of this node */
	CAIRN_SERVICE_SMALL_TABLE = 16, /* its table is in `maglev_small` */
};

/* `slots` entries (service id, 0 .. slots-1) of service_slots list the ready
 * backends; the first `local_slots` of them are pods of this node. Sockets of this node
 * choose among the first `near_slots`: all, or those that trafficDistribution prefers. */
struct cairn_service {
	__u32 id;
	__u32 flags; /* cairn_service_flag */
	__u32 slots;
	__u32 local_slots;
	__u32 near_slots;
	__u32 affinity_s; /* how long an idle client keeps its backend; 0 without AFFINITY */
	__u32 source_rate; /* new connections a second that one source may open; 0: any number */
	__u32 pad;
};

/* A client that a service with SOURCE_RANGES serves. `bits` counts the service id, too:
 * 32 + 0..128; an IPv4 prefix counts the 96 mapped bits. */
struct cairn_source_range {
	__u32 bits;
	__be32 service; /* id, in network order so that its bits are compared in one piece */
	struct cairn_addr address;
};

/* Who keeps a backend: a client's address, or for sockets of this node the cookie of their
 * network namespace in the first two words. */
struct cairn_affinity_key {
	struct cairn_addr client;
	__u32 service;
	__u32 is_socket; /* 0: an address, 1: a cookie */
};

struct cairn_affinity {
	__u32 backend; /* key of `backends` */
	__u32 pad;
	__u64 seen_ns; /* CLOCK_MONOTONIC (coarse) */
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

/* What backends did, as seen on this node. User space makes the entry with the backend and
 * removes it with it; a missing one never costs a packet. */
struct cairn_backend_counters {
	__u64 opened; /* connections that began */
	__u64 refused; /* answered a SYN with a reset */
	__u64 reset; /* reset by the backend later */
	__u64 answered; /* first answers */
};

/* Who opens connections to a service that limits their rate: an IPv4 address, or the /64 of an
 * IPv6 one, since whoever has one of its addresses has them all. */
struct cairn_rate_key {
	struct cairn_addr source;
	__u32 service;
	__u32 pad;
};

/* One state for all CPUs: a source's packets are spread over them, and each of several states would
 * allow the whole rate. The least recently used goes when the map is full: its source
 * begins anew, with a second's worth in hand. */
struct cairn_rate {
	__u64 due_ns; /* when the next is due if all came evenly, CLOCK_MONOTONIC (coarse) */
};

enum cairn_revision_flag {
	CAIRN_REVISION_DENIED = 1, /* `denied` holds something */
	CAIRN_REVISION_RATES_BEFORE = 2, /* XDP enforces source rates: nobody after it counts again */
	CAIRN_REVISION_POLICY_RATES = 4, /* `policy_rates` holds something */
};

/* Which state of the service and node maps is in force. */
struct cairn_revision {
	__u32 number; /* another after each change */
	__u32 flags; /* cairn_revision_flag */
};

/* One Maglev table: backend ids by hash scaled to CAIRN_MAGLEV_SIZE. A table of the same
 * size is written over the one before, id by id: a packet meets the old or the new choice,
 * and both serve. (To swap the inner map costs the writer a grace period.) A service
 * reached only by cgroup programs needs none. `table_digests` is user space's record,
 * absent while a table is being written: a new agent leaves what is right alone. */
struct cairn_maglev {
	__u32 backend[CAIRN_MAGLEV_SIZE];
};

struct cairn_maglev_small {
	__u32 backend[CAIRN_MAGLEV_SMALL_SIZE];
};

_Static_assert(sizeof(struct cairn_vip) == 8, "ABI");
_Static_assert(sizeof(struct cairn_service_key) == 20, "ABI");
_Static_assert(sizeof(struct cairn_service) == 32, "ABI");
_Static_assert(sizeof(struct cairn_source_range) == 24, "ABI");
_Static_assert(sizeof(struct cairn_affinity_key) == 24, "ABI");
_Static_assert(sizeof(struct cairn_affinity) == 16, "ABI");
_Static_assert(sizeof(struct cairn_rate_key) == 24, "ABI");
_Static_assert(sizeof(struct cairn_rate) == 8, "ABI");
_Static_assert(sizeof(struct cairn_revision) == 8, "ABI");
_Static_assert(sizeof(struct cairn_backend_counters) == 32, "ABI");
_Static_assert(sizeof(struct cairn_slot_key) == 8, "ABI");
_Static_assert(sizeof(struct cairn_backend) == 24, "ABI");
_Static_assert(sizeof(struct cairn_maglev) == 262148, "ABI");
_Static_assert(sizeof(struct cairn_maglev_small) == 15868, "ABI");
