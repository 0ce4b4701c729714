/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Judge a packet by the policies of the pods at its ends, and of the node.
 *
 *   who is at the ends, the packet  ->  on, to a proxy, or dropped
 *
 * The pod that opened the connection is judged on egress, the one that is reached on ingress, and each
 * only where it is on this node and isolated. Answers are judged as part of their connection, by the
 * same two verdicts, which `policy_flows` holds until the revision changes. Between two pods of this
 * node a packet is judged once, for both.
 *
 * A pod without policy costs the test of its flags.
 */
#pragma once

#include "icmp_error.h"
#include "identity.h"
#include "policing.h"
#include "proxy.h"
#include "rate.h"
#include "watch.h"

#define ND_FIRST 133 /* RFC 4861 s4 */
#define ND_LAST 137
#define ND_HOPS 255
#define ISOLATED (CAIRN_ENDPOINT_EGRESS | CAIRN_ENDPOINT_INGRESS)
#define POLICED (ISOLATED | CAIRN_ENDPOINT_CLOSED)

/* The port that policy speaks of: that of the end which is reached. */
static __always_inline __u16 policed_port(const struct packet *p, bool forward)
{
	if (packet_is_icmp(p))
		return forward ? p->icmp_type << 8 | p->icmp_code
			       : (p->is_v6 ? ICMP6_ECHO : ICMP_ECHO) << 8;
	return bpf_ntohs(forward ? p->tuple.destination_port : p->tuple.source_port);
}

/* A stranger who claims the node's own address is no node. */
static __always_inline __u32 identity_of_source(const struct packet *p, struct policing *w)
{
	__u32 identity = w->source ? w->source : identity_at(&p->tuple.source);

	if (identity == CAIRN_IDENTITY_HOST && !w->source)
		identity = identity_of_world(&p->tuple.source);
	return w->source_identity = identity;
}

static __always_inline __u32 identity_of_destination(const struct packet *p, struct policing *w)
{
	return w->destination_identity =
		       w->destination ? w->destination : identity_at(&p->tuple.destination);
}

static __always_inline bool policy_allows(const struct cairn_policy_verdict *v)
{
	return v->action == CAIRN_POLICY_ALLOW || (v->action == CAIRN_POLICY_PROXY && v->proxy);
}

static __always_inline enum cairn_verdict policy_reason(const struct cairn_policy_verdict *v)
{
	if (v->action == CAIRN_POLICY_PROXY)
		return CAIRN_DROP_PROXY_GONE;
	return v->action == CAIRN_POLICY_DENY ? CAIRN_DROP_POLICY_DENIED : CAIRN_DROP_POLICY_DEFAULT;
}

/* Judge the connection for who opened it. */
__noinline int judge_egress(const struct packet *p, struct policing *w,
			    struct cairn_policy_flow *flow, __u32 forward)
{
	struct cairn_policy_verdict *v;
	struct policy_question *q;

	if (!p || !w || !flow)
		return CAIRN_DROP_POLICY_PENDING;
	q = &w->question;
	v = &w->verdict;
	q->subject = forward ? w->source : w->destination;
	q->remote = forward ? identity_of_destination(p, w) : identity_of_source(p, w);
	q->port = policed_port(p, forward);
	q->protocol = p->tuple.protocol;
	q->direction = CAIRN_POLICY_EGRESS;
	if (policy_find(q, v) == CAIRN_POLICY_DEFAULT_DENY)
		policy_ask_names(forward ? &p->tuple.destination : &p->tuple.source, q, v);
	w->audit_egress = v->audit_rule;
	w->rule = v->rule;
	if (!policy_allows(v))
		return policy_reason(v);
	flow->egress_rule = v->rule;
	w->proxy = v->action == CAIRN_POLICY_PROXY ? v->proxy : 0;
	return CAIRN_PASS;
}

/* Judge the connection for who is reached. The node itself may always reach its own pods. */
__noinline int judge_ingress(const struct packet *p, struct policing *w,
			     struct cairn_policy_flow *flow, __u32 forward)
{
	struct cairn_policy_verdict *v;
	struct policy_question *q;

	if (!p || !w || !flow)
		return CAIRN_DROP_POLICY_PENDING;
	q = &w->question;
	v = &w->verdict;
	q->subject = forward ? w->destination : w->source;
	q->remote = forward ? identity_of_source(p, w) : identity_of_destination(p, w);
	if (q->remote == CAIRN_IDENTITY_HOST)
		return CAIRN_PASS;
	q->port = policed_port(p, forward);
	q->protocol = p->tuple.protocol;
	q->direction = CAIRN_POLICY_INGRESS;
	policy_find(q, v);
	w->audit_ingress = v->audit_rule;
	w->rule = v->rule;
	if (!policy_allows(v))
		return policy_reason(v);
	flow->ingress_rule = v->rule;
	if (v->action == CAIRN_POLICY_PROXY && !w->proxy && !(flow->flags & CAIRN_FLOW_SERVED))
		w->proxy = v->proxy;
	return CAIRN_PASS;
}

/* Judge a connection of which a side was not judged under this revision. @flow changes only where it
 * is let through. A connection that a proxy has stays with it, whatever is said now but that
 * nobody may have it: the ends would not know each other.
 */
__noinline int judge(struct packet *p, struct policing *w, struct cairn_policy_flow *flow,
		     __u32 forward)
{
	__u32 opener_flags, reached_flags;
	int verdict = CAIRN_PASS;
	bool fresh;

	if (!p || !w || !flow)
		return CAIRN_DROP_POLICY_PENDING;
	opener_flags = forward ? w->source_flags : w->destination_flags;
	reached_flags = forward ? w->destination_flags : w->source_flags;
	fresh = !flow->created_ns;
	w->proxy = 0;
	w->rule = w->audit_egress = w->audit_ingress = 0;
	if (opener_flags & CAIRN_ENDPOINT_EGRESS && !(flow->flags & CAIRN_FLOW_FROM_PROXY))
		verdict = judge_egress(p, w, flow, forward);
	if (verdict == CAIRN_PASS && reached_flags & CAIRN_ENDPOINT_INGRESS)
		verdict = judge_ingress(p, w, flow, forward);
	if (verdict != CAIRN_PASS)
		return verdict;
	flow->egress_revision = w->revision;
	flow->ingress_revision = w->revision;
	if (w->proxy || fresh || flow_is_opening(p))
		flow->proxy = w->proxy;
	if (fresh) {
		COUNT_RULE(flow->egress_rule, allowed);
		COUNT_RULE(flow->ingress_rule, allowed);
	}
	if (flow->flags & CAIRN_FLOW_AUDITED)
		w->audit_egress = w->audit_ingress = 0;
	else if (w->audit_egress | w->audit_ingress)
		flow->flags |= CAIRN_FLOW_AUDITED;
	return CAIRN_PASS;
}

/* Where a packet of a connection that is let through goes. */
static __always_inline int flow_outcome(const struct cairn_policy_flow *flow, struct policing *w,
					bool forward)
{
	bool from_proxy = flow->flags & CAIRN_FLOW_FROM_PROXY;

	if (forward && (w->sender < SENT_FOR_POD || from_proxy))
		w->proxy = flow->proxy;
	else if (forward || (!from_proxy && !(flow->proxy && w->sender == SENT_BY_OTHER)))
		w->proxy = 0;
	else
		return w->proxy = 0, CAIRN_TO_PROXY;
	return w->proxy ? CAIRN_TO_PROXY : CAIRN_PASS;
}

/* Note a packet that is let through, and say where it goes. One that is turned back is noted when
 * it comes again. */
static __always_inline int flow_end(struct __sk_buff *skb, const struct packet *p,
				    struct policing *w, struct cairn_policy_flow *flow,
				    bool forward)
{
	int verdict = flow_outcome(flow, w, forward);

	if (verdict == CAIRN_PASS || w->point != CAIRN_POINT_HOST)
		flow_touch(flow, p, skb->len, forward, clock_now(w));
	return verdict;
}

/* Whether the packet answers a proxy, though no connection of one is known: the entry was evicted,
 * or what the proxy sent passed no hook. */
static __always_inline bool answers_proxy(struct __sk_buff *skb, const struct packet *p,
					  const struct policing *w)
{
	return w->state & CAIRN_POLICY_PROXY_RUNS && !flow_is_opening(p) &&
	       (w->sender == SENT_BY_OTHER || w->sender == SENT_BY_PROXY) &&
	       w->destination != CAIRN_IDENTITY_HOST && proxy_has_socket(skb, p);
}

static __always_inline enum flow_guess guess_opener(struct __sk_buff *skb, const struct packet *p,
						    const struct policing *w,
						    struct cairn_policy_flow *flow)
{
	if (w->sender >= SENT_FOR_POD) {
		flow->flags = CAIRN_FLOW_FROM_PROXY;
		if (w->sender == SENT_TO_POD)
			flow->flags |= CAIRN_FLOW_SERVED;
		return FLOW_BY_SOURCE;
	}
	if (answers_proxy(skb, p, w)) {
		flow->flags = CAIRN_FLOW_FROM_PROXY | CAIRN_FLOW_SERVED;
		return FLOW_BY_DESTINATION;
	}
	if (p->tuple.protocol != IPPROTO_TCP || flow_is_opening(p))
		return FLOW_BY_SOURCE;
	return flow_guess_opener(p);
}

/* Judge a packet of a connection that is not known, and remember it if it is let through. */
__noinline int police_new(struct __sk_buff *skb, struct packet *p, struct policing *w)
{
	struct cairn_policy_flow *flow;
	int verdict = CAIRN_DROP_POLICY_DEFAULT;
	enum flow_guess guess;
	bool forward = true;

	if (!p || !w)
		return CAIRN_DROP_POLICY_PENDING;
	flow = &w->fresh;
	__builtin_memset(flow, 0, sizeof(*flow));
	guess = guess_opener(skb, p, w, flow);
	if (guess != FLOW_BY_DESTINATION)
		verdict = judge(p, w, flow, true);
	if (verdict != CAIRN_PASS && guess != FLOW_BY_SOURCE) {
		forward = false;
		verdict = judge(p, w, flow, false);
	}
	if (verdict != CAIRN_PASS)
		return verdict;
	flow->created_ns = flow->seen_ns = bpf_ktime_get_coarse_ns();
	if (!w->place.from_high != forward)
		flow->flags |= CAIRN_FLOW_OPENED_HIGH;
	if (!forward)
		w->flags |= CAIRN_EVENT_REPLY;
	verdict = flow_end(skb, p, w, flow, forward);
	bpf_map_update_elem(&policy_flows, &w->place.key, flow, BPF_ANY);
	if (events_on())
		observe_judged(skb, p, w, observed_as(w, verdict));
	return verdict;
}

/* Judge an ICMP message that belongs to no connection: by itself, each time. */
static __always_inline int police_message(struct packet *p, struct policing *w)
{
	int verdict;

	__builtin_memset(&w->fresh, 0, sizeof(w->fresh));
	verdict = judge(p, w, &w->fresh, true);
	return verdict == CAIRN_PASS && w->proxy ? CAIRN_TO_PROXY : verdict;
}

/* Put what an ICMP error quotes in the place of the error's own tuple, turned round. */
__noinline int take_quoted(struct __sk_buff *skb, struct packet *p)
{
	struct quote q = {};

	if (!p || icmp_read_quote(skb, p, &q) != CAIRN_PASS)
		return false;
	p->tuple = q.tuple;
	return true;
}

/* Judge an ICMP error by the connection that it quotes; one that quotes none by itself. */
__noinline int police_error(struct __sk_buff *skb, struct packet *p, struct policing *w)
{
	struct cairn_policy_flow *flow;
	int verdict = CAIRN_PASS;
	bool forward;

	if (!p || !w)
		return CAIRN_DROP_POLICY_PENDING;
	w->error = p->tuple;
	if (!take_quoted(skb, p))
		return police_message(p, w);
	flow_find_place(p, &w->place);
	flow = bpf_map_lookup_elem(&policy_flows, &w->place.key);
	if (!flow) {
		p->tuple = w->error;
		return police_message(p, w);
	}
	/* A router on the way may complain, too: then the far end is not where the error is from. */
	if (!address_equal(&p->tuple.source, &w->error.source))
		w->source = w->source_flags = 0;
	forward = flow_is_forward(flow, w->place.from_high);
	if (flow->egress_revision != w->revision || flow->ingress_revision != w->revision)
		verdict = judge(p, w, flow, forward);
	p->tuple = w->error;
	return verdict == CAIRN_PASS ? flow_outcome(flow, w, forward) : verdict;
}

/* The neighbours find each other (RFC 4861): between a pod and its node, never with another pod. */
static __always_inline bool is_neighbour_message(const struct packet *p, const struct policing *w)
{
	return p->is_v6 && packet_is_icmp(p) && p->icmp_type >= ND_FIRST &&
	       p->icmp_type <= ND_LAST && p->ttl == ND_HOPS &&
	       (!w->source || !w->destination || w->sender == SENT_BY_NODE);
}

static __always_inline bool is_echo_pair(const struct packet *p)
{
	return packet_is_echo(p) ||
	       p->icmp_type == (p->is_v6 ? ICMP6_ECHO_REPLY : ICMP_ECHO_REPLY);
}

static __always_inline int police_flow(struct __sk_buff *skb, struct packet *p, struct policing *w)
{
	struct cairn_policy_flow *flow;
	bool forward;
	int verdict;

	flow_find_place(p, &w->place);
	flow = bpf_map_lookup_elem(&policy_flows, &w->place.key);
	forward = flow && flow_is_forward(flow, w->place.from_high);
	if (!flow || flow_is_unsure(flow))
		return police_new(skb, p, w);
	if (flow_is_over(flow, p, forward, w->sender >= SENT_FOR_POD)) {
		if (events_on())
			observe_closed(skb, w, flow);
		return police_new(skb, p, w);
	}
	if (!forward)
		w->flags |= CAIRN_EVENT_REPLY;
	if (flow->egress_revision != w->revision || flow->ingress_revision != w->revision) {
		verdict = judge(p, w, flow, forward);
		if (verdict != CAIRN_PASS)
			return verdict;
	}
	verdict = flow_end(skb, p, w, flow, forward);
	if (events_on() && flow_has_ended(flow, p))
		observe_closed(skb, w, flow);
	return verdict;
}

static __always_inline void note_audit(struct __sk_buff *skb, struct packet *p, struct policing *w,
				       int verdict)
{
	COUNT_RULE(w->audit_egress, audited);
	COUNT_RULE(w->audit_ingress, audited);
	if (verdict < CAIRN_FIRST_DROP)
		observe_judged(skb, p, w, CAIRN_EVENT_KIND_AUDITED << 8 | CAIRN_AUDITED);
}

/* Whether the packet opens more than a policy of the pod lets its source open; XDP has judged what is
 * plain, where it runs. */
static __always_inline bool is_too_fast(struct __sk_buff *skb, struct packet *p, struct policing *w)
{
	if (!(w->destination_flags & CAIRN_ENDPOINT_INGRESS) || w->sender != SENT_BY_OTHER ||
	    !source_opens(p) || !(revision_now().flags & CAIRN_REVISION_POLICY_RATES))
		return false;
	if (w->point == CAIRN_POINT_UPLINK && source_was_judged(skb, p))
		return false;
	w->rule = rate_judge(p);
	return w->rule;
}

/* Judge a packet whose transport header has been read. Returns CAIRN_PASS, CAIRN_TO_PROXY, or a drop
 * reason. */
__noinline int police_packet(struct __sk_buff *skb, struct packet *p, struct policing *w)
{
	struct cairn_policy_state state = policy_state_now();
	int verdict;

	if (!p || !w)
		return CAIRN_DROP_POLICY_PENDING;
	if (is_neighbour_message(p, w))
		return CAIRN_PASS;
	if ((w->source_flags | w->destination_flags) & CAIRN_ENDPOINT_CLOSED || !state.revision)
		return CAIRN_DROP_POLICY_PENDING;
	if ((skb->mark & CAIRN_MARK_MASK) == CAIRN_MARK_PROOF)
		return CAIRN_PASS;
	w->revision = state.revision;
	w->state = state.flags;
	if (is_too_fast(skb, p, w))
		return CAIRN_DROP_POLICY_RATE;
	if (!packet_is_icmp(p) || is_echo_pair(p))
		verdict = police_flow(skb, p, w);
	else if (icmp_is_error(p))
		verdict = police_error(skb, p, w);
	else
		verdict = police_message(p, w);
	if (w->audit_egress | w->audit_ingress)
		note_audit(skb, p, w, verdict);
	return verdict;
}

static __always_inline int police_drop(struct __sk_buff *skb, struct packet *p, struct policing *w,
				       enum cairn_verdict reason)
{
	if (reason == CAIRN_DROP_POLICY_DENIED || reason == CAIRN_DROP_POLICY_DEFAULT)
		COUNT_RULE(w->rule, denied);
	count(w->point, reason, skb->len);
	observe_judged(skb, p, w, CAIRN_EVENT_KIND_DROP << 8 | reason);
	return TCX_DROP;
}

/* Give the packet to the proxy, at a hook where packets come in. */
__noinline int police_to_proxy(struct __sk_buff *skb, struct packet *p, struct policing *w)
{
	if (!p || !w)
		return TCX_DROP;
	if (!proxy_take(skb, p, w->proxy))
		return police_drop(skb, p, w, CAIRN_DROP_PROXY_GONE);
	return forward(skb, w->point, CAIRN_TO_PROXY, TCX_NEXT);
}

static __always_inline int police_unread(struct __sk_buff *skb, struct packet *p,
					 struct policing *w)
{
	int verdict = packet_read_l4(skb, p);

	return verdict == CAIRN_PASS ? police_packet(skb, p, w) : verdict;
}

/* Whether the packet may go on, at a hook where packets come in; else *@action is what the hook
 * returns. */
static __always_inline bool police(struct __sk_buff *skb, struct packet *p, struct policing *w,
				   int *action)
{
	int verdict = police_unread(skb, p, w);

	if (verdict == CAIRN_PASS)
		return true;
	*action = verdict == CAIRN_TO_PROXY ? police_to_proxy(skb, p, w)
					    : police_drop(skb, p, w, verdict);
	return false;
}

/* Let a packet from elsewhere into a pod of this node. */
static __always_inline int enter_pod(struct __sk_buff *skb, struct packet *p,
				     enum cairn_point point, const struct cairn_endpoint *pod)
{
	__u32 ifindex = pod->ifindex;
	int action;

	if (pod->flags & POLICED) {
		struct policing *w = policing_begin(point);

		if (!w)
			return TCX_DROP;
		policing_to_pod(w, pod);
		if (!police(skb, p, w, &action))
			return action;
	} else if (events_on()) {
		watch_ends(skb, p, NULL, pod, point);
	}
	return forward(skb, point, CAIRN_TO_POD, bpf_redirect_peer(ifindex, 0));
}
