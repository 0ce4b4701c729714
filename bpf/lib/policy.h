/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What policy says of a connection: the ladder that include/cairn/policy.h describes.
 *
 *   subject, remote, direction, protocol, port  ->  cairn_policy_verdict
 *
 * The twin in Python is desired.policy.DirectionPolicy.at().
 */
#pragma once

#include <bpf/bpf_endian.h>

#include "address.h"
#include "inline.h"
#include "maps.h"

#define PORT_BITS 16

struct policy_question {
	__u32 subject;
	__u32 remote;
	__u16 port; /* host order; of ICMP the type in the high octet and the code in the low one */
	__u8 protocol;
	__u8 direction;
};

/* Read anew each time: of a copy the verifier (6.18) remembers each bit that was tested, so that it
 * follows 2^17 ways through the loop below. */
static __always_inline bool policy_uses_length(const struct cairn_policy_peer *peer, int bits)
{
	return *(const volatile __u32 *)&peer->lengths >> bits & 1;
}

/* Ask a peer's table, the longest prefix of ports first; else the peer itself decides. */
__noinline int policy_ask_peer(const struct cairn_policy_peer *peer,
			       const struct policy_question *q, struct cairn_policy_verdict *out)
{
	if (!peer || !q || !out)
		return CAIRN_POLICY_DENY;

	for (int bits = PORT_BITS; bits >= 0; bits--) {
		struct cairn_port_key key = {
			.table = peer->table,
			.port = bpf_htons(q->port >> (PORT_BITS - bits) << (PORT_BITS - bits)),
			.protocol = q->protocol,
			.bits = bits,
		};
		struct cairn_policy_verdict *found;

		if (!policy_uses_length(peer, bits))
			continue;
		found = bpf_map_lookup_elem(&policy_ports, &key);
		if (found) {
			*out = *found;
			return out->action;
		}
	}
	out->rule = peer->rule;
	out->audit_rule = peer->audit_rule;
	out->proxy = peer->proxy;
	out->action = peer->action;
	out->audit_action = peer->audit_action;
	return out->action;
}

static __always_inline struct cairn_policy_peer *policy_peer(const struct policy_question *q,
							     __u32 remote)
{
	struct cairn_policy_key key = {
		.subject = q->subject,
		.remote = remote,
		.direction = q->direction,
	};

	return bpf_map_lookup_elem(&policy_peers, &key);
}

/* Ask for each selector of names that @address was learnt for, until one of them has more to say
 * than that nothing allows it. */
__noinline int policy_ask_names(const struct cairn_addr *address, const struct policy_question *q,
				struct cairn_policy_verdict *out)
{
	struct cairn_name_key key = {};

	if (!address || !q || !out)
		return CAIRN_POLICY_DENY;
	key.address = *address;
	for (int number = 0; number < CAIRN_NAME_PAGES * CAIRN_NAME_SELECTORS; number++) {
		struct cairn_policy_verdict verdict = {};
		struct cairn_policy_peer *peer;
		struct cairn_name_page *page;
		__u32 selector;

		key.page = number / CAIRN_NAME_SELECTORS;
		page = bpf_map_lookup_elem(&policy_names, &key);
		selector = page ? page->selectors[number % CAIRN_NAME_SELECTORS] : 0;
		if (!selector)
			break;
		peer = policy_peer(q, selector);
		if (peer && policy_ask_peer(peer, q, &verdict) != CAIRN_POLICY_DEFAULT_DENY) {
			*out = verdict;
			break;
		}
	}
	return out->action;
}

/* Find the verdict, names aside. Returns its action; without a policy of the subject it is ALLOW, by
 * no rule. */
static __always_inline int policy_find(const struct policy_question *q, struct cairn_policy_verdict *out)
{
	struct cairn_policy_peer *peer;

	peer = policy_peer(q, q->remote);
	if (!peer)
		peer = policy_peer(q, 0);
	if (!peer) {
		__builtin_memset(out, 0, sizeof(*out));
		return CAIRN_POLICY_ALLOW;
	}
	return policy_ask_peer(peer, q, out);
}

#define COUNT_RULE(key, member)                                                                    \
	({                                                                                         \
		__u32 rule_ = (key);                                                               \
		struct cairn_rule_counters *c_ =                                                   \
			rule_ ? bpf_map_lookup_elem(&policy_rules, &rule_) : NULL;                 \
		if (c_)                                                                            \
			__sync_fetch_and_add(&c_->member, 1);                                      \
	})

static __always_inline struct cairn_policy_state policy_state_now(void)
{
	__u32 zero = 0;
	struct cairn_policy_state none = {};
	struct cairn_policy_state *state = bpf_map_lookup_elem(&policy_state, &zero);

	return state ? *state : none;
}
