/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What a pod sends (tcx ingress on the host side of its veth pair), IPv4 and IPv6 alike.
 *
 *   not from the pod's own addresses, or tagged  -> dropped
 *   not allowed by policy                        -> dropped
 *   allowed if a proxy agrees, or for a proxy    -> to the proxy on this node
 *   to a pod of this node                        -> into the pod
 *   to a pod of another node                     -> out of the uplink, or through the overlay
 *   (either translated back before, if the pod serves pods through a service)
 *   to a node on another subnet                  -> through the overlay
 *   a ping to a service address                  -> answered
 *   an answer through a service                  -> translated back, to the client
 *   to an address of a pool that nobody holds    -> refused in words
 *   anything else (the node, the world)          -> the node's own stack
 *
 * ARP goes to the stack, and so do the messages by which IPv6 finds its neighbours and its groups.
 */
#include "../lib/frame.h"
#include "../lib/host.h"
#include "../lib/overlay.h"
#include "../lib/ping.h"
#include "../lib/refuse.h"
#include "../lib/reply.h"
#include "../lib/trace.h"

#define HERE CAIRN_POINT_POD

/* Send an answer to the client: out of the uplink, by the node's routes. */
static __always_inline int send_reply(struct __sk_buff *skb)
{
	return forward(skb, HERE, CAIRN_REPLY,
		       bpf_redirect_neigh(cairn_config.uplink_ifindex, NULL, 0, 0));
}

/* Whether the pod may send from these addresses; if so, @out says which pod it is. */
static __always_inline enum cairn_verdict check_source(struct __sk_buff *skb,
						       const struct packet *p,
						       struct cairn_endpoint **out)
{
	struct cairn_endpoint *sender = bpf_map_lookup_elem(&endpoints, &p->tuple.source);
	union {
		__u32 words[3];
		struct ethernet_ends ends;
	} frame;

	if (!sender || sender->ifindex != skb->ifindex)
		return CAIRN_DROP_SOURCE_ADDRESS;
	if (packet_load(skb, 0, &frame, sizeof(frame)) < 0)
		return CAIRN_DROP_TRUNCATED_L3;
	for (int i = 0; i < ETH_ALEN; i++)
		if (frame.ends.source[i] != sender->mac[i])
			return CAIRN_DROP_SOURCE_MAC;
	*out = sender;
	return CAIRN_PASS;
}

/* Whether policy lets the packet go on, to a pod of this node (@pod), to the node, or elsewhere; else
 * *@action is what the hook returns. */
static __always_inline bool may_send(struct __sk_buff *skb, struct packet *p,
				     const struct cairn_endpoint *sender,
				     const struct cairn_endpoint *pod, int *action)
{
	__u32 flags = sender->flags | (pod ? pod->flags : 0);
	struct policing *w;

	if (!(flags & POLICED) && (pod || !(policy_state_now().flags & HOST_POLICED))) {
		if (events_on())
			watch_ends(skb, p, sender, pod, HERE);
		return true;
	}
	w = policing_begin(HERE);
	*action = TCX_DROP;
	if (!w)
		return false;
	policing_from_pod(w, sender);
	if (pod)
		policing_to_pod(w, pod);
	else
		policing_to_node(w, p);
	if ((w->source_flags | w->destination_flags) & POLICED)
		return police(skb, p, w, action);
	if (events_on() && packet_read_l4(skb, p) == CAIRN_PASS)
		watch_flow(skb, p, w);
	return true;
}

/* RFC 4861, RFC 4862, RFC 3810: sent before there is an address, or from the link-local one. */
static __always_inline bool is_link_business(const struct packet *p)
{
	const struct cairn_addr *source = &p->tuple.source;
	bool link_local = (source->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
	bool none = !source->word[0] && !source->word[1] && !source->word[2] && !source->word[3];

	return p->is_v6 && p->tuple.protocol == PROTOCOL_ICMP6 && (link_local || none);
}

/* Whether this is a ping to a service address that the node answers for. */
static __always_inline bool is_ping(struct __sk_buff *skb, struct packet *p,
				    const struct cairn_vip *vip)
{
	if (!vip || !packet_is_icmp(p) || !(vip->flags & CAIRN_VIP_PING) || is_group_frame(skb) ||
	    packet_read_l4(skb, p) != CAIRN_PASS)
		return false;
	return !p->has_l4 || packet_is_echo(p);
}

static __always_inline int send_to_node(struct __sk_buff *skb, struct packet *p, __u32 index)
{
	struct cairn_node *node = bpf_map_lookup_elem(&nodes, &index);

	if (!node)
		return drop(skb, p, HERE, CAIRN_DROP_BACKEND_NO_NODE);
	if (node->flags & CAIRN_NODE_TUNNEL)
		return overlay_send(skb, p, HERE, node);
	if (address_to_node(skb, node) < 0)
		return drop(skb, p, HERE, CAIRN_DROP_REWRITE);
	return forward(skb, HERE, CAIRN_TO_NODE, bpf_redirect(cairn_config.uplink_ifindex, 0));
}

/* A pod of the cluster is reached directly, by no route of the kernel's. */
static __always_inline bool is_inside(struct __sk_buff *skb, struct packet *p,
				      const struct cairn_endpoint *pod, int *action)
{
	struct cairn_prefix where = {.bits = ADDRESS_BITS, .address = p->tuple.destination};
	__u32 *node;

	if (pod) {
		*action = forward(skb, HERE, CAIRN_TO_POD, bpf_redirect_peer(pod->ifindex, 0));
		return true;
	}
	node = bpf_map_lookup_elem(&pod_routes, &where);
	if (node)
		*action = send_to_node(skb, p, *node);
	return node;
}

static __always_inline int send_outside(struct __sk_buff *skb, struct packet *p)
{
	struct cairn_prefix where = {.bits = ADDRESS_BITS, .address = p->tuple.destination};
	struct cairn_vip *vip = bpf_map_lookup_elem(&vips, &p->tuple.destination);
	enum cairn_verdict verdict;

	if (is_ping(skb, p, vip))
		return ping_answer(skb, p, HERE);
	verdict = reply_translate(skb, p);
	if (verdict == CAIRN_REPLY)
		return send_reply(skb);
	if (verdict != CAIRN_PASS)
		return drop(skb, p, HERE, verdict);
	if (!vip && bpf_map_lookup_elem(&pools, &where)) {
		packet_read_l4(skb, p); /* says whether it is an error, which is not answered */
		return refuse(skb, p, HERE, CAIRN_DROP_NO_ADDRESS, REFUSED_ADDRESS);
	}
	return pass(skb, HERE);
}

/* Take back what pod_egress turned round, for the proxy. Its source is no address of the pod. */
static __always_inline int take_back(struct __sk_buff *skb, struct packet *p)
{
	struct cairn_endpoint *source = bpf_map_lookup_elem(&endpoints, &p->tuple.source);
	struct cairn_endpoint *pod = bpf_map_lookup_elem(&endpoints, &p->tuple.destination);
	struct policing *w = policing_begin(HERE);
	int action;

	if (!w)
		return TCX_DROP;
	w->sender = SENT_FOR_POD;
	if (source)
		policing_from_pod(w, source);
	if (pod)
		policing_to_pod(w, pod);
	return police(skb, p, w, &action) ? drop(skb, p, HERE, CAIRN_DROP_PROXY_GONE) : action;
}

static __always_inline int decide(struct __sk_buff *skb)
{
	struct packet p = {};
	struct cairn_endpoint *sender = NULL, *pod;
	int action;

	if (!packet_is_ip(skb))
		return pass(skb, HERE);
	if (is_foreign_vlan(skb)) /* the tag would go along, into a VLAN that the pod has no part in */
		return drop(skb, &p, HERE, CAIRN_DROP_VLAN);

	enum cairn_verdict verdict = packet_read_ip(skb, &p);

	if (verdict == CAIRN_PASS && (skb->mark & CAIRN_MARK_MASK) == CAIRN_MARK_EGRESS_PROXY)
		return take_back(skb, &p);
	if (verdict == CAIRN_PASS && is_link_business(&p))
		return pass(skb, HERE);
	if (verdict == CAIRN_PASS)
		verdict = check_source(skb, &p, &sender);
	if (verdict != CAIRN_PASS || !sender)
		return drop(skb, &p, HERE, verdict);
	pod = bpf_map_lookup_elem(&endpoints, &p.tuple.destination);
	if (!may_send(skb, &p, sender, pod, &action))
		return action;
	if (sender->flags & CAIRN_ENDPOINT_SERVES_INSIDE)
		verdict = reply_translate(skb, &p);
	if (verdict != CAIRN_PASS && verdict != CAIRN_REPLY)
		return drop(skb, &p, HERE, verdict);
	if (is_inside(skb, &p, pod, &action))
		return action;
	return verdict == CAIRN_REPLY ? send_reply(skb) : send_outside(skb, &p);
}

SEC("tc")
int pod_ingress(struct __sk_buff *skb)
{
	trace_begin(skb);
	return trace_end(skb, HERE, decide(skb));
}

char _license[] SEC("license") = "Dual BSD/GPL";
