/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Connection tracking: remember the backend, and the way back. */
#pragma once

#include "lb.h"
#include "packet.h"
#include "settings.h"

#define REFRESH_NS NS_PER_S

static __always_inline bool track_is_new(const struct packet *p)
{
	return p->tuple.protocol == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Note a packet of the connection; a lost race with another CPU costs a count. */
static __always_inline void track_touch(struct cairn_connection *c, const struct packet *p,
					__u32 octets, __u64 now)
{
	c->seen_ns = now;
	c->packets++;
	c->octets += octets;
	if (p->tuple.protocol != IPPROTO_TCP || !p->has_l4)
		return;
	if (p->tcp_flags & (TCP_FIN | TCP_RST))
		c->state = CAIRN_STATE_CLOSING;
	else if (c->state == CAIRN_STATE_NEW && !(p->tcp_flags & TCP_SYN))
		c->state = CAIRN_STATE_ESTABLISHED;
}

#define COUNT_BACKEND(id, member)                                                                  \
	({                                                                                         \
		__u32 id_ = (id);                                                                  \
		struct cairn_backend_counters *c_ = bpf_map_lookup_elem(&backend_counters, &id_); \
		if (c_)                                                                            \
			__sync_fetch_and_add(&c_->member, 1);                                      \
	})

/* Note an answer of the backend in the REVERSE entry @c: its first, a refusal, a reset. */
static __always_inline void track_answer(struct cairn_connection *c, const struct packet *p)
{
	bool reset = p->tuple.protocol == IPPROTO_TCP && p->tcp_flags & TCP_RST;

	if (!(c->flags & CAIRN_CONNECTION_ANSWERED)) {
		c->flags |= CAIRN_CONNECTION_ANSWERED;
		if (reset)
			COUNT_BACKEND(c->backend, refused);
		else
			COUNT_BACKEND(c->backend, answered);
	} else if (reset && !(c->flags & CAIRN_CONNECTION_RESET)) {
		COUNT_BACKEND(c->backend, reset);
	}
	if (reset)
		c->flags |= CAIRN_CONNECTION_RESET;
}

/* Write the entry that turns the backend's answers back, unless it stands.
 *
 * The client may have used the same port towards another frontend of this
 * backend: the newer connection wins.
 */
__noinline int track_reverse(const struct packet *p, const struct cairn_backend *backend, __u32 id,
			     __u32 service, __u64 now)
{
	struct cairn_tuple key = {};
	struct cairn_connection *old;

	if (!p || !backend)
		return CAIRN_DROP_BACKEND_UNKNOWN;
	key.source = backend->address;
	key.source_port = backend->port;
	key.destination = p->tuple.source;
	key.destination_port = p->tuple.source_port;
	key.protocol = p->tuple.protocol;
	key.direction = CAIRN_REVERSE;
	old = bpf_map_lookup_elem(&conntrack, &key);
	if (old && !track_is_new(p) && old->port == p->tuple.destination_port &&
	    address_equal(&old->address, &p->tuple.destination))
		return CAIRN_PASS;

	struct cairn_connection entry = {
		.address = p->tuple.destination,
		.port = p->tuple.destination_port,
		.state = p->tuple.protocol == IPPROTO_TCP ? CAIRN_STATE_NEW
							  : CAIRN_STATE_ESTABLISHED,
		.backend = id,
		.service = service,
		.created_ns = now,
		.seen_ns = now,
	};

	if (bpf_map_update_elem(&conntrack, &key, &entry, BPF_ANY) < 0)
		return CAIRN_DROP_CONNTRACK_FULL;
	return CAIRN_PASS;
}

__noinline int track_forward(const struct packet *p, const struct cairn_backend *backend, __u32 id,
			     __u32 service, __u32 octets)
{
	struct cairn_connection entry = {};

	if (!p || !backend)
		return CAIRN_DROP_BACKEND_UNKNOWN;
	entry.address = backend->address;
	entry.port = backend->port;
	entry.state = p->tuple.protocol != IPPROTO_TCP || !track_is_new(p) ? CAIRN_STATE_ESTABLISHED
									   : CAIRN_STATE_NEW;
	entry.backend = id;
	entry.service = service;
	entry.created_ns = entry.seen_ns = bpf_ktime_get_coarse_ns();
	entry.packets = 1;
	entry.octets = octets;
	if (bpf_map_update_elem(&conntrack, &p->tuple, &entry, BPF_ANY) < 0)
		return CAIRN_DROP_CONNTRACK_FULL;
	return CAIRN_PASS;
}

/* Whether this CPU may make one more entry for a connection that it hands over: in a flood
 * the table is kept for the connections that need it, and Maglev alone decides. */
static __always_inline bool track_may_begin(__u64 now)
{
	__u32 zero = 0;
	struct limit *limit = bpf_map_lookup_elem(&entry_limit, &zero);

	if (!limit || !cairn_config.entries_per_s)
		return true;
	if (now - limit->since_ns > NS_PER_S) {
		limit->since_ns = now;
		limit->count = 0;
	}
	return limit->count++ < cairn_config.entries_per_s;
}
