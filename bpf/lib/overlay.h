/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Send a packet to a node on another subnet, through VXLAN (RFC 7348). The device takes the
 * tunnel's ends from the packet's metadata. */
#pragma once

#include "observe.h"

#define OVERLAY_VNI 1
#define OVERLAY_TTL 64

/* Returns what the hook returns; counts the packet under @verdict or as dropped. */
static __always_inline int overlay_send(struct __sk_buff *skb, struct packet *p,
					enum cairn_point point, const struct cairn_node *node,
					enum cairn_verdict verdict)
{
	struct bpf_tunnel_key key = {.tunnel_id = OVERLAY_VNI, .tunnel_ttl = OVERLAY_TTL};
	__u64 flags = BPF_F_ZERO_CSUM_TX;

	if (address_is_mapped(&node->address)) {
		key.remote_ipv4 = bpf_ntohl(node->address.word[3]);
	} else {
		__builtin_memcpy(key.remote_ipv6, node->address.word, sizeof(key.remote_ipv6));
		flags = BPF_F_TUNINFO_IPV6;
	}
	if (!cairn_config.overlay_ifindex ||
	    bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags) < 0)
		return drop(skb, p, point, CAIRN_DROP_TUNNEL_FAILED);
	return forward(skb, point, verdict, bpf_redirect(cairn_config.overlay_ifindex, 0));
}
