/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* A backend's answer: from the backend's address back to the service's. */
#pragma once

#include "nat.h"
#include "track.h"

/* Translate @skb if it answers a connection through a service.
 *
 * Returns CAIRN_REPLY when it was translated, CAIRN_PASS when it is none, or a
 * drop reason. A later fragment of unknown beginning is no answer of ours.
 */
static __always_inline enum cairn_verdict reply_translate(struct __sk_buff *skb, struct packet *p)
{
	if (!packet_has_ports(p))
		return CAIRN_PASS;

	enum cairn_verdict verdict = packet_read_l4(skb, p);

	if (verdict == CAIRN_DROP_FRAGMENT)
		return CAIRN_PASS;
	if (verdict != CAIRN_PASS)
		return verdict;

	p->tuple.direction = CAIRN_REVERSE;
	struct cairn_connection *c = bpf_map_lookup_elem(&conntrack, &p->tuple);

	p->tuple.direction = CAIRN_FORWARD;
	if (!c)
		return CAIRN_PASS;

	struct cairn_addr address = c->address;
	__be16 port = c->port;

	track_touch(c, p, skb->len, bpf_ktime_get_coarse_ns());
	track_answer(c, p);
	verdict = nat_source(skb, p, &address, port);
	return verdict == CAIRN_PASS ? CAIRN_REPLY : verdict;
}
