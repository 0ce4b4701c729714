/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Policy about the node itself: what reaches its own addresses, and what it sends. */
#pragma once

#include "enforce.h"

#define HOST_POLICED (CAIRN_POLICY_HOST_INGRESS | CAIRN_POLICY_HOST_EGRESS)

/* In what directions the node is isolated, as a pod's flags say it. */
static __always_inline __u32 host_flags(__u32 state)
{
	return (state & CAIRN_POLICY_HOST_INGRESS ? CAIRN_ENDPOINT_INGRESS : 0) |
	       (state & CAIRN_POLICY_HOST_EGRESS ? CAIRN_ENDPOINT_EGRESS : 0);
}

/* Say in @w that the packet is for the node, if it is and a policy is about the node. */
static __always_inline void policing_to_node(struct policing *w, const struct packet *p)
{
	struct cairn_policy_state state = policy_state_now();

	if (state.flags & HOST_POLICED && identity_is_node(&p->tuple.destination)) {
		w->destination = CAIRN_IDENTITY_HOST;
		w->destination_flags = host_flags(state.flags);
	}
}

/* Leave a packet to the node's own stack. */
__noinline int enter_node(struct __sk_buff *skb, struct packet *p, __u32 point)
{
	struct policing *w = policing_begin(point);
	int action;

	if (!p || !w)
		return TCX_DROP;
	policing_to_node(w, p);
	if (w->destination_flags && !police(skb, p, w, &action))
		return action;
	return pass(skb, point);
}
