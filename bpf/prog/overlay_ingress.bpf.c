/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What arrives through the overlay (tcx ingress of the VXLAN device).
 *
 *   from no node of the cluster  -> dropped
 *   to a service address         -> served here: a node handed it over
 *   to a pod of this node        -> into the pod, if policy allows it
 *   to the node itself           -> judged, if policies are about it
 *   anything else                -> the node's own stack
 *
 * Nobody asks by ARP or ND here: the device has neither.
 */
#include "../lib/serve.h"
#include "../lib/trace.h"

#define HERE CAIRN_POINT_OVERLAY

static __always_inline bool came_from_node(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct cairn_addr sender = {};

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) == 0) {
		address_map(&sender, bpf_htonl(key.remote_ipv4));
	} else if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6) == 0) {
		__builtin_memcpy(&sender, key.remote_ipv6, sizeof(sender));
	} else {
		return false;
	}
	return key.tunnel_id == OVERLAY_VNI && bpf_map_lookup_elem(&tunnels, &sender);
}

static __always_inline int decide(struct __sk_buff *skb)
{
	struct packet p = {};
	enum cairn_verdict verdict = CAIRN_DROP_TUNNEL;

	if (packet_is_ip(skb) && came_from_node(skb))
		verdict = packet_read_ip(skb, &p);
	if (verdict != CAIRN_PASS && verdict != CAIRN_DROP_EXTENSION)
		return drop(skb, &p, HERE, verdict);

	/* The inner frame has the Ethernet addresses that it began its way with. */
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);

	struct cairn_vip *vip = bpf_map_lookup_elem(&vips, &p.tuple.destination);

	if (verdict != CAIRN_PASS)
		return vip && !(vip->flags & CAIRN_VIP_SHARED) ? drop(skb, &p, HERE, verdict)
								: pass(skb, HERE);
	if (vip)
		return serve_vip(skb, &p, HERE, vip->flags, true);

	struct cairn_endpoint *pod = bpf_map_lookup_elem(&endpoints, &p.tuple.destination);

	if (pod)
		return enter_pod(skb, &p, HERE, pod);
	return enter_node(skb, &p, HERE);
}

SEC("tc")
int overlay_ingress(struct __sk_buff *skb)
{
	trace_begin(skb);
	return trace_end(skb, HERE, decide(skb));
}

char _license[] SEC("license") = "Dual BSD/GPL";
