/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What leaves on the uplink (tcx egress).
 *
 *   of the node itself, and policy forbids it         -> dropped
 *   an answer of a backend in the node's own network,
 *   or of a proxy for a pod of this node              -> translated back to the service's address
 *   to an address of a pool that no service holds     -> dropped: the router, which has no way
 *                                                        to it but through a node, would return it
 *
 * All else passes untouched.
 */
#include "../lib/reply.h"
#include "../lib/serve.h"
#include "../lib/trace.h"

#define HERE CAIRN_POINT_HOST

/* Whether policy lets the node's own packet out; one that it does not is dropped. What a proxy sends
 * was judged for its pod. */
static __always_inline bool may_leave(struct __sk_buff *skb, struct packet *p)
{
	struct cairn_policy_state state = policy_state_now();
	__u32 mark = skb->mark & CAIRN_MARK_MASK;
	struct policing *w;
	int verdict;

	if (!(state.flags & HOST_POLICED))
		return true;
	w = policing_begin(HERE);
	if (!w)
		return false;
	w->source = CAIRN_IDENTITY_HOST;
	w->source_flags = host_flags(state.flags);
	w->sender = mark == CAIRN_MARK_EGRESS_PROXY || mark == CAIRN_MARK_INGRESS_PROXY
			    ? SENT_FOR_POD
			    : SENT_BY_NODE;
	verdict = police_unread(skb, p, w);
	if (verdict == CAIRN_PASS)
		return true;
	/* Here no packet can be given to a socket. */
	police_drop(skb, p, w, verdict == CAIRN_TO_PROXY ? CAIRN_DROP_PROXY_GONE : verdict);
	return false;
}

static __always_inline bool is_proxy_answer(const struct packet *p)
{
	return policy_state_now().flags & CAIRN_POLICY_PROXY_RUNS &&
	       bpf_map_lookup_elem(&endpoints, &p->tuple.source);
}

static __always_inline int decide(struct __sk_buff *skb)
{
	struct packet p = {};
	enum cairn_verdict verdict;

	/* What came in by another interface was judged there: only the node's own is left. */
	if (skb->ingress_ifindex)
		return TCX_NEXT;
	if (!packet_is_ip(skb) || packet_read_ip(skb, &p) != CAIRN_PASS)
		return TCX_NEXT;
	if (is_own_address(&p.tuple.source)) {
		if (!may_leave(skb, &p))
			return TCX_DROP;
	} else if (!is_proxy_answer(&p)) {
		return TCX_NEXT;
	}
	verdict = reply_translate(skb, &p);
	if (verdict == CAIRN_DROP_REWRITE || verdict == CAIRN_DROP_SCTP_PORT)
		return drop(skb, &p, HERE, verdict);
	if (verdict == CAIRN_REPLY)
		return forward(skb, HERE, CAIRN_REPLY, TCX_NEXT);
	if (is_free_address(&p.tuple.destination) &&
	    !bpf_map_lookup_elem(&vips, &p.tuple.destination))
		return drop(skb, &p, HERE, CAIRN_DROP_NO_ADDRESS);
	return TCX_NEXT;
}

SEC("tc")
int uplink_egress(struct __sk_buff *skb)
{
	trace_begin(skb);
	return trace_end(skb, HERE, decide(skb));
}

char _license[] SEC("license") = "Dual BSD/GPL";
