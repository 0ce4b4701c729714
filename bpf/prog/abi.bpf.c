/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Every type of the ABI, so that its BTF reaches tools/abigen.py. Never loaded.
 *
 * A type that is used only inside inlined code leaves no BTF: hence one global each.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <cairn/config.h>
#include <cairn/conntrack.h>
#include <cairn/endpoint.h>
#include <cairn/event.h>
#include <cairn/flow.h>
#include <cairn/node.h>
#include <cairn/policy.h>
#include <cairn/rate.h>
#include <cairn/service.h>
#include <cairn/trace.h>

#define EXPORT(kind, name) kind cairn_##name abi_##name SEC(".data.abi")

EXPORT(struct, addr);
EXPORT(struct, mac);
EXPORT(struct, vip);
EXPORT(struct, service_key);
EXPORT(struct, service);
EXPORT(struct, slot_key);
EXPORT(struct, backend);
EXPORT(struct, backend_counters);
EXPORT(struct, source_range);
EXPORT(struct, affinity_key);
EXPORT(struct, affinity);
EXPORT(struct, rate_key);
EXPORT(struct, rate);
EXPORT(struct, revision);
EXPORT(struct, endpoint);
EXPORT(struct, node);
EXPORT(struct, prefix);
EXPORT(struct, tuple);
EXPORT(struct, connection);
EXPORT(struct, fragment_key);
EXPORT(struct, fragment);
EXPORT(struct, socket_key);
EXPORT(struct, socket_origin);
EXPORT(struct, metric);
EXPORT(struct, event);
EXPORT(struct, config);
EXPORT(struct, policy_key);
EXPORT(struct, policy_verdict);
EXPORT(struct, policy_peer);
EXPORT(struct, port_key);
EXPORT(struct, name_key);
EXPORT(struct, name_page);
EXPORT(struct, flow_key);
EXPORT(struct, policy_flow);
EXPORT(struct, rule_counters);
EXPORT(struct, policy_state);
EXPORT(struct, rate_at);
EXPORT(struct, policy_rate);
EXPORT(struct, trace_filter);
EXPORT(enum, verdict);
EXPORT(enum, point);
EXPORT(enum, event_kind);
EXPORT(enum, event_flag);
EXPORT(enum, netns);
EXPORT(enum, kernel_telling);
EXPORT(enum, direction);
EXPORT(enum, state);
EXPORT(enum, connection_flag);
EXPORT(enum, node_flag);
EXPORT(enum, vip_flag);
EXPORT(enum, service_flag);
EXPORT(enum, revision_flag);
EXPORT(enum, config_flag);
EXPORT(enum, backend_flag);
EXPORT(enum, endpoint_flag);
EXPORT(enum, policy_direction);
EXPORT(enum, policy_action);
EXPORT(enum, identity);
EXPORT(enum, flow_flag);
EXPORT(enum, flow_end_flag);
EXPORT(enum, policy_flag);
EXPORT(enum, rate_flag);

char _license[] SEC("license") = "Dual BSD/GPL";
