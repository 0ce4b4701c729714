/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the node's own stack sends into a pod (tcx egress on the host side of its veth pair). What other
 * programs put into the pod (bpf_redirect_peer) does not come by here.
 *
 *   to a pod without policy                           -> on
 *   from the node itself                              -> on, unless the pod is closed
 *   forwarded, or a proxy's answer to the pod         -> judged
 *   a proxy's, for another pod                        -> judged on ingress
 *   for a proxy: to one that judges who reaches the pod, or an answer to what a proxy sent
 *                                                     -> back, as if the pod's interface had sent it: only
 *                                                        where packets come in can a socket be given one
 */
#include "../lib/host.h"
#include "../lib/trace.h"

#define HERE CAIRN_POINT_HOST

static __always_inline enum policing_sender find_sender(const struct __sk_buff *skb,
							const struct packet *p)
{
	__u32 mark = skb->mark & CAIRN_MARK_MASK;

	if (skb->ingress_ifindex)
		return SENT_BY_OTHER;
	if (mark == CAIRN_MARK_EGRESS_PROXY)
		return SENT_FOR_POD;
	if (mark == CAIRN_MARK_INGRESS_PROXY)
		return SENT_TO_POD;
	return identity_is_node(&p->tuple.source) ? SENT_BY_NODE : SENT_BY_PROXY;
}

static __always_inline int turn_back(struct __sk_buff *skb)
{
	proxy_mark(skb, CAIRN_MARK_EGRESS_PROXY);
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

static __always_inline int decide(struct __sk_buff *skb)
{
	struct cairn_endpoint *pod, *source;
	struct packet p = {};
	struct policing *w;
	int verdict;

	if (!packet_is_ip(skb))
		return TCX_NEXT;
	verdict = packet_read_ip(skb, &p);
	if (verdict != CAIRN_PASS)
		return drop(skb, &p, HERE, verdict);
	pod = bpf_map_lookup_elem(&endpoints, &p.tuple.destination);
	if (!pod) /* to groups; or to a pod that is not there yet */
		return skb->ingress_ifindex ? drop(skb, &p, HERE, CAIRN_DROP_POLICY_PENDING)
					    : TCX_NEXT;
	source = bpf_map_lookup_elem(&endpoints, &p.tuple.source);
	if (!((pod->flags | (source ? source->flags : 0)) & POLICED)) {
		if (events_on())
			watch_ends(skb, &p, source, pod, HERE);
		return TCX_NEXT;
	}
	w = policing_begin(HERE);
	if (!w)
		return TCX_DROP;
	policing_to_pod(w, pod);
	if (source)
		policing_from_pod(w, source);
	w->sender = find_sender(skb, &p);
	if (w->sender == SENT_BY_NODE)
		w->source = CAIRN_IDENTITY_HOST;
	verdict = police_unread(skb, &p, w);
	if (verdict == CAIRN_TO_PROXY)
		return turn_back(skb);
	return verdict == CAIRN_PASS ? TCX_NEXT : police_drop(skb, &p, w, verdict);
}

SEC("tc")
int pod_egress(struct __sk_buff *skb)
{
	trace_begin(skb);
	return trace_end(skb, HERE, decide(skb));
}

char _license[] SEC("license") = "Dual BSD/GPL";
