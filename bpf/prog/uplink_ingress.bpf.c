/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What arrives on the node's uplink (tcx ingress), IPv4 and IPv6 alike.
 *
 *   a frame for another host, flooded; of another VLAN          -> the node's own stack, which drops it
 *   from a source on the deny list                              -> dropped
 *   ARP or ND for a service address that this node answers for  -> answered
 *   to a service address: ping                                  -> answered
 *                         an ICMP error                         -> follows its connection
 *                         backend on this node                  -> translated, into the pod
 *                         backend on another node               -> handed over, unchanged
 *                         nobody listens                        -> refused in words
 *   to a node's address or external IP: a service's port        -> likewise
 *                                       any other               -> the node's own stack
 *   to a pod of this node                                       -> into the pod, if policy allows it
 *   (likewise what was translated, as client and backend)
 *   to the node itself, if policies are about it                -> judged
 *   to an address of a pool that no service holds               -> refused in words
 *   anything else                                               -> the node's own stack
 *
 * A packet that a peer handed over is served here or dropped, never handed on, so
 * it cannot go in circles. Hand-over does not count as a hop: the hop limit stays, and
 * so does everything else but the Ethernet header.
 */
#include "../lib/serve.h"
#include "../lib/trace.h"

#define HERE CAIRN_POINT_UPLINK

static __always_inline bool came_from_peer(struct __sk_buff *skb)
{
	struct cairn_mac source = {};

	if (bpf_skb_load_bytes(skb, ETH_ALEN, source.octets, ETH_ALEN) < 0)
		return false;
	return bpf_map_lookup_elem(&peers, &source);
}

/* A switch that does not know where a host is sends its frames everywhere: they are for that
 * host alone. The kernel's judgement is nearly free; what it says is not ours is looked at. */
static __always_inline bool is_for_another(struct __sk_buff *skb)
{
	struct cairn_mac destination = {};

	if (skb->pkt_type != PACKET_OTHERHOST ||
	    bpf_skb_load_bytes(skb, 0, destination.octets, ETH_ALEN) < 0)
		return false;
	for (int i = 0; i < ETH_ALEN; i++)
		if (destination.octets[i] != cairn_config.uplink_mac[i])
			return true;
	return false;
}

static __always_inline int decide(struct __sk_buff *skb)
{
	struct packet p = {};

	if (is_foreign_vlan(skb) || is_for_another(skb))
		return pass(skb, HERE);
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return arp_serve(skb);
	if (!packet_is_ip(skb))
		return pass(skb, HERE);

	enum cairn_verdict verdict = packet_read_ip(skb, &p);

	if (verdict != CAIRN_PASS && verdict != CAIRN_DROP_EXTENSION)
		return drop(skb, &p, HERE, verdict);

	struct cairn_revision now = revision_now();

	if (source_is_denied(&now, &p.tuple.source))
		return drop(skb, &p, HERE, CAIRN_DROP_DENIED);

	struct cairn_vip *vip = bpf_map_lookup_elem(&vips, &p.tuple.destination);

	if (verdict != CAIRN_PASS) /* other hosts' business, unless it is for a service */
		return vip && !(vip->flags & CAIRN_VIP_SHARED) ? drop(skb, &p, HERE, verdict)
								: pass(skb, HERE);
	if (vip)
		return serve_vip(skb, &p, HERE, vip->flags, came_from_peer(skb));

	struct cairn_endpoint *pod = bpf_map_lookup_elem(&endpoints, &p.tuple.destination);

	if (pod)
		return enter_pod(skb, &p, HERE, pod);
	if (packet_is_icmp(&p) && packet_read_l4(skb, &p) == CAIRN_PASS && is_solicitation(&p))
		return solicits_ours(skb, &p) ? neighbour_answer(skb, &p, HERE) : pass(skb, HERE);
	if (is_free_address(&p.tuple.destination))
		return refuse(skb, &p, HERE, CAIRN_DROP_NO_ADDRESS, REFUSED_ADDRESS);
	return enter_node(skb, &p, HERE);
}

SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	trace_begin(skb);
	return trace_end(skb, HERE, decide(skb));
}

char _license[] SEC("license") = "Dual BSD/GPL";
