/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What arrives on the node's uplink (tcx ingress).
 *
 *   ARP for a service address that this node answers for  -> answered
 *   to a service address: ping                            -> answered
 *                         an ICMP error                   -> follows its connection
 *                         backend on this node            -> translated, into the pod
 *                         backend on another node         -> handed over, unchanged
 *   to a pod of this node                                 -> into the pod
 *   anything else                                         -> the node's own stack
 *
 * A packet that a peer handed over is served here or dropped, never handed on, so
 * it cannot go in circles. Hand-over does not count as a hop: the TTL stays, and
 * so does everything else but the Ethernet header. IPv6 goes to the stack.
 */
#include "../lib/icmp_error.h"
#include "../lib/nat.h"
#include "../lib/observe.h"
#include "../lib/ping.h"
#include "../lib/track.h"

#define HERE CAIRN_POINT_UPLINK

static __always_inline bool came_from_peer(struct __sk_buff *skb)
{
	struct cairn_mac source = {};

	if (bpf_skb_load_bytes(skb, ETH_ALEN, source.octets, ETH_ALEN) < 0)
		return false;
	return bpf_map_lookup_elem(&peers, &source);
}

static __always_inline int hand_over(struct __sk_buff *skb, struct packet *p,
				     const struct cairn_backend *backend)
{
	__u32 index = backend->node;
	struct cairn_node *node = bpf_map_lookup_elem(&nodes, &index);
	struct ethernet_ends ends;

	if (!node)
		return drop(skb, p, HERE, CAIRN_DROP_BACKEND_NO_NODE);
	__builtin_memcpy(ends.destination, node->mac, ETH_ALEN);
	for (int i = 0; i < ETH_ALEN; i++)
		ends.source[i] = cairn_config.uplink_mac[i];
	if (bpf_skb_store_bytes(skb, 0, &ends, sizeof(ends), 0) < 0)
		return drop(skb, p, HERE, CAIRN_DROP_REWRITE);
	return forward(skb, HERE, CAIRN_HANDED_OVER, bpf_redirect(cairn_config.uplink_ifindex, 0));
}

/* Look up the pod at the backend's address; a backend without one is the node itself. */
static __always_inline enum cairn_verdict find_pod(const struct cairn_addr *address, __u32 *ifindex)
{
	struct cairn_endpoint *pod = bpf_map_lookup_elem(&endpoints, address);

	if (pod)
		*ifindex = pod->ifindex;
	else if (!address_equal(address, &cairn_config.node_address))
		return CAIRN_DROP_BACKEND_UNKNOWN;
	return CAIRN_PASS;
}

static __always_inline int deliver(struct __sk_buff *skb, struct packet *p,
				   const struct cairn_backend *backend)
{
	struct cairn_addr address = backend->address;
	__u32 ifindex = 0;
	enum cairn_verdict verdict = find_pod(&address, &ifindex);

	if (verdict == CAIRN_PASS)
		verdict = nat_destination(skb, p, &address, backend->port);
	if (verdict != CAIRN_PASS)
		return drop(skb, p, HERE, verdict);
	return forward(skb, HERE, CAIRN_TO_BACKEND,
		       ifindex ? bpf_redirect_peer(ifindex, 0) : TCX_NEXT);
}

/* Find the backend of a connection that is known, and note the packet.
 *
 * Returns false if there is none or it will not do any more: it is gone or its id
 * stands for another, the service is another, the connection had ended and this
 * opens a new one, or the packet was handed over and the backend is not here.
 */
static __always_inline bool find_known(struct __sk_buff *skb, struct packet *p, __u32 service,
				       struct choice *out)
{
	struct cairn_connection *c = bpf_map_lookup_elem(&conntrack, &p->tuple);

	if (!c || c->service != service || choose(c->backend, out) != CAIRN_PASS)
		return false;
	if (c->port != out->backend->port || !address_equal(&c->address, &out->backend->address))
		return false;
	if (!(out->backend->flags & CAIRN_BACKEND_LOCAL) && came_from_peer(skb))
		return false;
	if (track_is_new(p) && (c->state == CAIRN_STATE_CLOSING ||
				out->backend->flags & CAIRN_BACKEND_TERMINATING))
		return false;

	__u64 now = bpf_ktime_get_coarse_ns();

	/* The way back may have been evicted: without it answers leave untranslated. */
	if (now - c->seen_ns > REFRESH_NS && out->backend->flags & CAIRN_BACKEND_LOCAL &&
	    track_reverse(p, out, service, now) != CAIRN_PASS)
		return false;
	track_touch(c, p, skb->len, now);
	return true;
}

static __always_inline enum cairn_verdict begin(struct __sk_buff *skb, struct packet *p,
						const struct cairn_service *service,
						struct choice *out)
{
	bool handed = came_from_peer(skb);
	__u32 hash = service->flags & CAIRN_SERVICE_AFFINITY ? hash_client(&p->tuple.source)
							     : hash_tuple(&p->tuple);
	enum cairn_verdict verdict = lb_choose(service, hash, handed, out);
	__u64 now = bpf_ktime_get_coarse_ns();

	if (verdict != CAIRN_PASS)
		return verdict;
	if (out->backend->flags & CAIRN_BACKEND_LOCAL) {
		verdict = track_reverse(p, out, service->id, now);
		if (verdict != CAIRN_PASS)
			return verdict;
	}
	return track_forward(p, out, service->id, skb->len, now);
}

static __always_inline int serve(struct __sk_buff *skb, struct packet *p)
{
	struct cairn_service_key key = {
		.address = p->tuple.destination,
		.port = p->tuple.destination_port,
		.protocol = p->tuple.protocol,
	};
	struct cairn_service *service = bpf_map_lookup_elem(&services, &key);
	struct choice choice = {};

	if (!service)
		return drop(skb, p, HERE, CAIRN_DROP_NO_SERVICE);

	if (!find_known(skb, p, service->id, &choice)) {
		enum cairn_verdict verdict = begin(skb, p, service, &choice);

		if (verdict != CAIRN_PASS)
			return drop(skb, p, HERE, verdict);
	}
	if (!choice.backend)
		return drop(skb, p, HERE, CAIRN_DROP_BACKEND_UNKNOWN);
	if (choice.backend->flags & CAIRN_BACKEND_LOCAL)
		return deliver(skb, p, choice.backend);
	return hand_over(skb, p, choice.backend);
}

/* Find the backend of the connection that an ICMP error is about; none is begun. */
static __always_inline enum cairn_verdict find_quoted(struct __sk_buff *skb, const struct quote *q,
						      struct choice *out)
{
	struct cairn_service_key key = {
		.address = q->tuple.destination,
		.port = q->tuple.destination_port,
		.protocol = q->tuple.protocol,
	};
	struct cairn_service *service = bpf_map_lookup_elem(&services, &key);
	struct cairn_connection *c = bpf_map_lookup_elem(&conntrack, &q->tuple);
	bool handed = came_from_peer(skb);

	if (!service)
		return CAIRN_DROP_ICMP_TYPE;
	if (c && c->service == service->id && choose(c->backend, out) == CAIRN_PASS &&
	    (!handed || out->backend->flags & CAIRN_BACKEND_LOCAL))
		return CAIRN_PASS;

	__u32 hash = service->flags & CAIRN_SERVICE_AFFINITY ? hash_client(&q->tuple.source)
							     : hash_tuple(&q->tuple);

	return lb_choose(service, hash, handed, out);
}

static __always_inline int serve_icmp_error(struct __sk_buff *skb, struct packet *p)
{
	struct quote q = {};
	struct choice choice = {};
	__u32 ifindex = 0;
	enum cairn_verdict verdict = icmp_read_quote(skb, p, &q);

	if (verdict == CAIRN_PASS)
		verdict = find_quoted(skb, &q, &choice);
	if (verdict != CAIRN_PASS)
		return drop(skb, p, HERE, verdict);
	if (!choice.backend)
		return drop(skb, p, HERE, CAIRN_DROP_BACKEND_UNKNOWN);
	if (!(choice.backend->flags & CAIRN_BACKEND_LOCAL))
		return hand_over(skb, p, choice.backend);

	struct cairn_addr address = choice.backend->address;

	verdict = find_pod(&address, &ifindex);
	if (verdict == CAIRN_PASS)
		verdict = icmp_translate(skb, p, &q, &address, choice.backend->port);
	if (verdict != CAIRN_PASS)
		return drop(skb, p, HERE, verdict);
	return forward(skb, HERE, CAIRN_TO_BACKEND,
		       ifindex ? bpf_redirect_peer(ifindex, 0) : TCX_NEXT);
}

static __always_inline int serve_vip(struct __sk_buff *skb, struct packet *p, __u32 vip_flags)
{
	__u8 protocol = p->tuple.protocol;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_ICMP)
		return drop(skb, p, HERE, CAIRN_DROP_PROTOCOL);

	enum cairn_verdict verdict = packet_read_l4(skb, p);

	if (verdict != CAIRN_PASS)
		return drop(skb, p, HERE, verdict);
	if (protocol != IPPROTO_ICMP)
		return serve(skb, p);
	if (icmp_is_error(p))
		return serve_icmp_error(skb, p);
	if (!(vip_flags & CAIRN_VIP_PING) || (p->has_l4 && p->icmp_type != ICMP_ECHO))
		return drop(skb, p, HERE, CAIRN_DROP_ICMP_TYPE);
	return ping_answer(skb, p, HERE);
}

SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	struct packet p = {};

	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return arp_serve(skb);
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return pass(skb, HERE);

	enum cairn_verdict verdict = packet_read_ip4(skb, &p);

	if (verdict != CAIRN_PASS)
		return drop(skb, &p, HERE, verdict);

	struct cairn_vip *vip = bpf_map_lookup_elem(&vips, &p.tuple.destination);

	if (vip)
		return serve_vip(skb, &p, vip->flags);

	struct cairn_endpoint *pod = bpf_map_lookup_elem(&endpoints, &p.tuple.destination);

	if (pod)
		return forward(skb, HERE, CAIRN_TO_POD, bpf_redirect_peer(pod->ifindex, 0));
	return pass(skb, HERE);
}

char _license[] SEC("license") = "Dual BSD/GPL";
