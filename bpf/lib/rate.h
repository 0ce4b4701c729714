/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Limits of policies on new traffic, looked up for what opens something and nothing else. */
#pragma once

#include "policy.h"
#include "source.h"

/* The limit at the packet's destination; NULL if it has none. */
static __always_inline struct cairn_policy_rate *rate_find(const struct packet *p)
{
	struct cairn_prefix who = {.bits = 128, .address = p->tuple.source};
	struct cairn_rate_at at = {
		.address = p->tuple.destination,
		.port = p->tuple.destination_port,
		.protocol = p->tuple.protocol,
	};
	struct cairn_policy_rate *rate = bpf_map_lookup_elem(&policy_rates, &at);
	__u32 *identity;

	if (!rate || !(rate->flags & CAIRN_RATE_BY_REMOTE))
		return rate;
	identity = bpf_map_lookup_elem(&identities, &who);
	if (!identity)
		return rate;
	at.remote = *identity;

	struct cairn_policy_rate *own = bpf_map_lookup_elem(&policy_rates, &at);

	return own ? own : rate;
}

/* Judge a packet whose ports are read: 0 if it may go on, else the rule whose limit it exceeds. */
__noinline int rate_judge(const struct packet *p)
{
	struct cairn_rate_key key = {};
	struct cairn_policy_rate *rate;
	__u64 rate_ns;

	if (!p || !p->has_l4 || !source_opens(p))
		return 0;
	rate = rate_find(p);
	if (!rate || !rate->per_second || !rate->burst)
		return 0;
	if (!(rate->flags & CAIRN_RATE_TOTAL))
		source_fill_key(&key, p);
	key.service = rate->rule;
	rate_ns = NS_PER_S / rate->per_second;
	if (source_take_from(&policy_buckets, &key, rate_ns, rate_ns * rate->burst,
			     bpf_ktime_get_coarse_ns()))
		return 0;
	COUNT_RULE(rate->rule, denied);
	return rate->rule;
}
