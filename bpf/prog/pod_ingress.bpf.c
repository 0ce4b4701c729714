/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What a pod sends (tcx ingress on the host side of its veth pair).
 *
 *   not from the pod's own address       -> dropped
 *   a ping to a service address          -> answered
 *   an answer through a service          -> translated back, to the client
 *   to a pod of this node                -> into the pod
 *   to a pod of another node             -> out of the uplink
 *   anything else (the node, the world)  -> the node's own stack
 *
 * IPv6 and ARP go to the stack.
 */
#include "../lib/observe.h"
#include "../lib/ping.h"
#include "../lib/reply.h"

#define HERE CAIRN_POINT_POD
#define ADDRESS_BITS 128

/* Send an answer to the client: out of the uplink, by the node's routes. */
static __always_inline int send_reply(struct __sk_buff *skb)
{
	return forward(skb, HERE, CAIRN_REPLY,
		       bpf_redirect_neigh(cairn_config.uplink_ifindex, NULL, 0, 0));
}

/* Whether this is a ping to a service address that the node answers for. */
static __always_inline bool is_ping(struct __sk_buff *skb, struct packet *p)
{
	if (p->tuple.protocol != IPPROTO_ICMP)
		return false;

	struct cairn_vip *vip = bpf_map_lookup_elem(&vips, &p->tuple.destination);

	if (!vip || !(vip->flags & CAIRN_VIP_PING) || packet_read_l4(skb, p) != CAIRN_PASS)
		return false;
	return !p->has_l4 || p->icmp_type == ICMP_ECHO;
}

static __always_inline int send_on(struct __sk_buff *skb, const struct packet *p)
{
	struct cairn_prefix where = {.bits = ADDRESS_BITS, .address = p->tuple.destination};
	struct cairn_endpoint *pod = bpf_map_lookup_elem(&endpoints, &where.address);

	if (pod)
		return forward(skb, HERE, CAIRN_TO_POD, bpf_redirect_peer(pod->ifindex, 0));
	if (bpf_map_lookup_elem(&pod_routes, &where))
		return forward(skb, HERE, CAIRN_TO_NODE,
			       bpf_redirect_neigh(cairn_config.uplink_ifindex, NULL, 0, 0));
	return pass(skb, HERE);
}

SEC("tc")
int pod_ingress(struct __sk_buff *skb)
{
	struct packet p = {};

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return pass(skb, HERE);

	enum cairn_verdict verdict = packet_read_ip4(skb, &p);

	if (verdict != CAIRN_PASS)
		return drop(skb, &p, HERE, verdict);

	struct cairn_endpoint *sender = bpf_map_lookup_elem(&endpoints, &p.tuple.source);

	if (!sender || sender->ifindex != skb->ifindex)
		return drop(skb, &p, HERE, CAIRN_DROP_SOURCE_ADDRESS);

	if (is_ping(skb, &p))
		return ping_answer(skb, &p, HERE);
	verdict = reply_translate(skb, &p);
	if (verdict == CAIRN_REPLY)
		return send_reply(skb);
	if (verdict != CAIRN_PASS)
		return drop(skb, &p, HERE, verdict);
	return send_on(skb, &p);
}

char _license[] SEC("license") = "Dual BSD/GPL";
