/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What leaves on the uplink (tcx egress).
 *
 *   an answer of a backend in the node's own network  -> translated back to the service's address
 *   to an address of a pool that no service holds     -> dropped: the router, which has no way
 *                                                        to it but through a node, would return it
 *
 * All else passes untouched.
 */
#include "../lib/reply.h"
#include "../lib/serve.h"

#define HERE CAIRN_POINT_HOST

SEC("tc")
int uplink_egress(struct __sk_buff *skb)
{
	struct packet p = {};

	/* What came in by another interface was judged there: only the node's own is left. */
	if (skb->ingress_ifindex)
		return TCX_NEXT;
	if (!packet_is_ip(skb) || packet_read_ip(skb, &p) != CAIRN_PASS)
		return TCX_NEXT;
	if (!is_own_address(&p.tuple.source))
		return TCX_NEXT;

	enum cairn_verdict verdict = reply_translate(skb, &p);

	if (verdict == CAIRN_DROP_REWRITE || verdict == CAIRN_DROP_SCTP_PORT)
		return drop(skb, &p, HERE, verdict);
	if (verdict == CAIRN_REPLY)
		return forward(skb, HERE, CAIRN_REPLY, TCX_NEXT);
	if (is_free_address(&p.tuple.destination) &&
	    !bpf_map_lookup_elem(&vips, &p.tuple.destination))
		return drop(skb, &p, HERE, CAIRN_DROP_NO_ADDRESS);
	return TCX_NEXT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
