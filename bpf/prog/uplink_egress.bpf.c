/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What leaves on the uplink (tcx egress): answers of backends that live in the
 * node's own network (hostNetwork pods) are translated back to the service's
 * address. All else passes untouched.
 */
#include "../lib/observe.h"
#include "../lib/reply.h"

#define HERE CAIRN_POINT_HOST

SEC("tc")
int uplink_egress(struct __sk_buff *skb)
{
	struct packet p = {};

	if (skb->protocol != bpf_htons(ETH_P_IP) || packet_read_ip4(skb, &p) != CAIRN_PASS)
		return TCX_NEXT;
	if (!address_equal(&p.tuple.source, &cairn_config.node_address))
		return TCX_NEXT;

	enum cairn_verdict verdict = reply_translate(skb, &p);

	if (verdict == CAIRN_DROP_REWRITE)
		return drop(skb, &p, HERE, verdict);
	if (verdict == CAIRN_REPLY)
		return forward(skb, HERE, CAIRN_REPLY, TCX_NEXT);
	return TCX_NEXT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
