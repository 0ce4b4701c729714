/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What leaves through the overlay (tcx egress of the VXLAN device).
 *
 *   sent there by a program, which has said to which node        -> on
 *   by the kernel's routes, for a pod of a node or a node itself -> to that node
 *   anything else                                                -> dropped
 *
 * The kernel tells the groups of every device that it is there (RFC 3810): nobody's loss, so that
 * is counted and causes no event.
 */
#include "../lib/identity.h"
#include "../lib/overlay.h"
#include "../lib/trace.h"

#define HERE CAIRN_POINT_HOST

static __always_inline bool has_key(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key;

	return bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) == 0 ||
	       bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6) == 0;
}

static __always_inline struct cairn_node *find_node(const struct packet *p)
{
	struct cairn_prefix where = {.bits = ADDRESS_BITS, .address = p->tuple.destination};
	__u32 *index = bpf_map_lookup_elem(&pod_routes, &where);
	__u32 key = index ? *index : 0;
	struct cairn_node *node = bpf_map_lookup_elem(&nodes, &key);

	return node && node->flags & CAIRN_NODE_TUNNEL ? node : NULL;
}

static __always_inline bool is_multicast(const struct cairn_addr *address)
{
	if (address_is_mapped(address))
		return (address->word[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
	return (address->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

static __always_inline int decide(struct __sk_buff *skb)
{
	struct packet p = {};
	struct cairn_node *node = NULL;

	if (has_key(skb))
		return TCX_NEXT;
	if (packet_is_ip(skb) && packet_read_ip(skb, &p) == CAIRN_PASS)
		node = find_node(&p);
	if (!node && is_multicast(&p.tuple.destination))
		return forward(skb, HERE, CAIRN_DROP_TUNNEL_NO_NODE, TCX_DROP);
	if (!node)
		return drop(skb, &p, HERE, CAIRN_DROP_TUNNEL_NO_NODE);
	if (overlay_address(skb, node) < 0)
		return drop(skb, &p, HERE, CAIRN_DROP_TUNNEL_FAILED);
	return forward(skb, HERE, CAIRN_TO_TUNNEL, TCX_NEXT);
}

SEC("tc")
int overlay_egress(struct __sk_buff *skb)
{
	trace_begin(skb);
	return trace_end(skb, HERE, decide(skb));
}

char _license[] SEC("license") = "Dual BSD/GPL";
