/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The maps, by the names under which they are pinned and shared by all programs.
 *
 * Sizes are defaults: user space sets them before load. Maps that seldom change
 * are not preallocated, so their size costs nothing until it is used; inside a
 * packet's path only the preallocated ones are written.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <cairn/conntrack.h>
#include <cairn/endpoint.h>
#include <cairn/event.h>
#include <cairn/flow.h>
#include <cairn/node.h>
#include <cairn/policy.h>
#include <cairn/rate.h>
#include <cairn/service.h>
#include <cairn/trace.h>

#define CAIRN_MAP(name, map_type, entries, key_type, value_type, flags)                            \
	struct {                                                                                   \
		__uint(type, map_type);                                                            \
		__uint(max_entries, entries);                                                      \
		__uint(map_flags, flags);                                                          \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

CAIRN_MAP(vips, BPF_MAP_TYPE_HASH, 16384, struct cairn_addr, struct cairn_vip, BPF_F_NO_PREALLOC);
CAIRN_MAP(services, BPF_MAP_TYPE_HASH, 65536, struct cairn_service_key, struct cairn_service,
	  BPF_F_NO_PREALLOC);
CAIRN_MAP(service_slots, BPF_MAP_TYPE_HASH, 262144, struct cairn_slot_key, __u32,
	  BPF_F_NO_PREALLOC);
CAIRN_MAP(backend_counters, BPF_MAP_TYPE_HASH, 262144, __u32, struct cairn_backend_counters,
	  BPF_F_NO_PREALLOC);
CAIRN_MAP(source_ranges, BPF_MAP_TYPE_LPM_TRIE, 65536, struct cairn_source_range, __u32,
	  BPF_F_NO_PREALLOC);
CAIRN_MAP(affinity, BPF_MAP_TYPE_LRU_HASH, 16384, struct cairn_affinity_key, struct cairn_affinity,
	  0);
CAIRN_MAP(pools, BPF_MAP_TYPE_LPM_TRIE, 4096, struct cairn_prefix, __u32, BPF_F_NO_PREALLOC);
CAIRN_MAP(denied, BPF_MAP_TYPE_LPM_TRIE, 65536, struct cairn_prefix, __u32, BPF_F_NO_PREALLOC);
CAIRN_MAP(source_rates, BPF_MAP_TYPE_LRU_HASH, 16384, struct cairn_rate_key, struct cairn_rate, 0);
CAIRN_MAP(revision, BPF_MAP_TYPE_ARRAY, 1, __u32, struct cairn_revision, 0);
CAIRN_MAP(draining, BPF_MAP_TYPE_HASH, 4096, __u32, __u32, BPF_F_NO_PREALLOC);
CAIRN_MAP(backends, BPF_MAP_TYPE_HASH, 262144, __u32, struct cairn_backend, BPF_F_NO_PREALLOC);
CAIRN_MAP(endpoints, BPF_MAP_TYPE_HASH, 4096, struct cairn_addr, struct cairn_endpoint,
	  BPF_F_NO_PREALLOC);
CAIRN_MAP(nodes, BPF_MAP_TYPE_HASH, 4096, __u32, struct cairn_node, BPF_F_NO_PREALLOC);
CAIRN_MAP(peers, BPF_MAP_TYPE_HASH, 4096, struct cairn_mac, __u32, BPF_F_NO_PREALLOC);
CAIRN_MAP(tunnels, BPF_MAP_TYPE_HASH, 4096, struct cairn_addr, __u32, BPF_F_NO_PREALLOC);
CAIRN_MAP(overlay, BPF_MAP_TYPE_ARRAY, 1, __u32, __u32, 0);
CAIRN_MAP(pod_routes, BPF_MAP_TYPE_LPM_TRIE, 4096, struct cairn_prefix, __u32, BPF_F_NO_PREALLOC);
CAIRN_MAP(conntrack, BPF_MAP_TYPE_HASH, 131072, struct cairn_tuple, struct cairn_connection, 0);
CAIRN_MAP(fragments, BPF_MAP_TYPE_LRU_HASH, 4096, struct cairn_fragment_key, struct cairn_fragment,
	  0);
CAIRN_MAP(socket_reverse, BPF_MAP_TYPE_LRU_HASH, 65536, struct cairn_socket_key,
	  struct cairn_socket_origin, 0);
CAIRN_MAP(metrics, BPF_MAP_TYPE_PERCPU_ARRAY, CAIRN_POINTS *CAIRN_VERDICT_SPACE, __u32,
	  struct cairn_metric, 0);

CAIRN_MAP(identities, BPF_MAP_TYPE_LPM_TRIE, 131072, struct cairn_prefix, __u32, BPF_F_NO_PREALLOC);
CAIRN_MAP(policy_names, BPF_MAP_TYPE_HASH, 65536, struct cairn_name_key, struct cairn_name_page,
	  BPF_F_NO_PREALLOC);
CAIRN_MAP(policy_peers, BPF_MAP_TYPE_HASH, 524288, struct cairn_policy_key, struct cairn_policy_peer,
	  BPF_F_NO_PREALLOC);
CAIRN_MAP(policy_ports, BPF_MAP_TYPE_HASH, 262144, struct cairn_port_key,
	  struct cairn_policy_verdict, BPF_F_NO_PREALLOC);
CAIRN_MAP(policy_flows, BPF_MAP_TYPE_LRU_HASH, 65536, struct cairn_flow_key,
	  struct cairn_policy_flow, 0);
CAIRN_MAP(policy_rules, BPF_MAP_TYPE_HASH, 131072, __u32, struct cairn_rule_counters,
	  BPF_F_NO_PREALLOC);
CAIRN_MAP(policy_state, BPF_MAP_TYPE_ARRAY, 1, __u32, struct cairn_policy_state, 0);
CAIRN_MAP(policy_rates, BPF_MAP_TYPE_HASH, 65536, struct cairn_rate_at, struct cairn_policy_rate,
	  BPF_F_NO_PREALLOC);
CAIRN_MAP(policy_buckets, BPF_MAP_TYPE_LRU_HASH, 16384, struct cairn_rate_key, struct cairn_rate,
	  0);

/* How many events of a drop reason, or of another kind, this CPU has told in the present interval, and
 * how many it has not told since the last. Kinds lie behind the reasons, the kernel's own reasons behind
 * the kinds. */
struct event_gate {
	__u64 since_ns;
	__u32 count;
	__u32 suppressed;
};
#define EVENT_KINDS 16
#define EVENT_GATES (CAIRN_VERDICT_SPACE + EVENT_KINDS + CAIRN_KERNEL_REASONS)
CAIRN_MAP(event_gates, BPF_MAP_TYPE_PERCPU_ARRAY, EVENT_GATES, __u32, struct event_gate, 0);

CAIRN_MAP(trace_filters, BPF_MAP_TYPE_ARRAY, CAIRN_TRACE_ROWS, __u32, struct cairn_trace_filter, 0);

/* How often something was done in the present second, on this CPU. */
struct limit {
	__u64 since_ns;
	__u32 count;
	__u32 pad;
};
CAIRN_MAP(entry_limit, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct limit, 0);
CAIRN_MAP(refusal_limit, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct limit, 0);

/* Thirty thousand events: what 100,000 connections a second make in the time that a busy reader is away. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} events SEC(".maps");

/* Sizes, not types: clang 19 leaves a forward declaration in the BTF of a type that
 * only an inner map names, and libbpf 1.1 then refuses the object. */
#define CAIRN_TABLES(name, table)                                                                  \
	struct name##_inner {                                                                      \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, 1);                                                            \
		__uint(key_size, sizeof(__u32));                                                   \
		__uint(value_size, sizeof(table));                                                 \
	};                                                                                         \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);                                           \
		__uint(max_entries, 16384);                                                        \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                              \
		__type(key, __u32);                                                                \
		__array(values, struct name##_inner);                                              \
	} name SEC(".maps")

CAIRN_TABLES(maglev, struct cairn_maglev);
CAIRN_TABLES(maglev_small, struct cairn_maglev_small);
CAIRN_MAP(table_digests, BPF_MAP_TYPE_HASH, 32768, __u32, __u64, BPF_F_NO_PREALLOC);
