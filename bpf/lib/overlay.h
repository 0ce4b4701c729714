/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Send a packet to a node on another subnet, through VXLAN (RFC 7348). The device takes the
 * tunnel's ends from the packet's metadata.
 *
 * What does not fit is not lost in silence. Where the tunnel runs in IPv4 the sender is told if it
 * must be (IPv6, IPv4 with DF); all else, fragments above all, goes in an outer packet that the two
 * nodes' kernels cut and put together. An outer IPv6 packet they do not cut: there every sender
 * is told, of fragments and without DF as well, and what cannot be answered is dropped.
 */
#pragma once

#include "refuse.h"

#define OVERLAY_VNI 1
#define OVERLAY_TTL 64

/* The device, or 0 if there is none. */
static __always_inline __u32 overlay_ifindex(void)
{
	__u32 zero = 0;
	__u32 *ifindex = bpf_map_lookup_elem(&overlay, &zero);

	return ifindex ? *ifindex : 0;
}

/* Returns the MTU of the overlay if the packet, or a segment of it, is larger; else 0. */
static __always_inline __u32 overlay_too_small(struct __sk_buff *skb, __u32 ifindex)
{
	__u32 mtu = 0;

	return bpf_check_mtu(skb, ifindex, &mtu, 0, BPF_MTU_CHK_SEGS) > 0 ? mtu : 0;
}

/* Name the ends of the tunnel: this node's address and @node's, both as their CiliumNodes say. */
static __always_inline int overlay_address(struct __sk_buff *skb, const struct cairn_node *node)
{
	struct bpf_tunnel_key key = {.tunnel_id = OVERLAY_VNI, .tunnel_ttl = OVERLAY_TTL};

	if (address_is_mapped(&node->address)) {
		key.remote_ipv4 = bpf_ntohl(node->address.word[3]);
		key.local_ipv4 = bpf_ntohl(cairn_config.node_address.word[3]);
		return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX);
	}
	for (int i = 0; i < 4; i++) {
		key.remote_ipv6[i] = node->address.word[i];
		key.local_ipv6[i] = cairn_config.node_address6.word[i];
	}
	return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6);
}

/* Returns what the hook returns; counts the packet under @verdict or as dropped. */
static __always_inline int overlay_push(struct __sk_buff *skb, struct packet *p,
					enum cairn_point point, const struct cairn_node *node,
					enum cairn_verdict verdict, __u32 ifindex)
{
	if (!ifindex || overlay_address(skb, node) < 0)
		return drop(skb, p, point, CAIRN_DROP_TUNNEL_FAILED);
	return forward(skb, point, verdict, bpf_redirect(ifindex, 0));
}

/* Hand a packet over that came from elsewhere. */
__noinline int overlay_hand_over(struct __sk_buff *skb, struct packet *p, __u32 point,
				 const struct cairn_node *node)
{
	__u32 ifindex = overlay_ifindex(), mtu;
	bool may_be_cut;

	if (!p || !node)
		return TCX_DROP;
	may_be_cut = address_is_mapped(&node->address);
	mtu = overlay_too_small(skb, ifindex);
	if (mtu && must_tell_too_big(skb, p, may_be_cut) && may_refuse())
		return refuse_too_big(skb, p, point, mtu);
	if (mtu && !may_be_cut)
		return drop(skb, p, point, CAIRN_DROP_TOO_BIG);
	return overlay_push(skb, p, point, node, CAIRN_HANDED_OVER, ifindex);
}

/* Send what a pod of this node sends. A pod's packets fit, since its interface has the overlay's
 * MTU; one from before the overlay was there goes by the node's stack, which tells the pod, or
 * cuts it. */
static __always_inline int overlay_send(struct __sk_buff *skb, struct packet *p,
					enum cairn_point point, const struct cairn_node *node)
{
	__u32 ifindex = overlay_ifindex();

	if (overlay_too_small(skb, ifindex))
		return pass(skb, point);
	return overlay_push(skb, p, point, node, CAIRN_TO_TUNNEL, ifindex);
}
