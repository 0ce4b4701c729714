/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Serve a packet to a service address, wherever it arrived: on the uplink or out of the
 * overlay. @point says where, @handed whether another node handed it over.
 */
#pragma once

#include "host.h"
#include "icmp_error.h"
#include "neighbour.h"
#include "overlay.h"
#include "ping.h"
#include "refuse.h"
#include "reply.h"
#include "source.h"

static __always_inline int hand_over(struct __sk_buff *skb, struct packet *p,
				     enum cairn_point point, const struct cairn_backend *backend)
{
	__u32 index = backend->node;
	struct cairn_node *node = bpf_map_lookup_elem(&nodes, &index);

	if (!node)
		return drop(skb, p, point, CAIRN_DROP_BACKEND_NO_NODE);
	if (node->flags & CAIRN_NODE_TUNNEL)
		return overlay_hand_over(skb, p, point, node);
	if (address_to_node(skb, node) < 0)
		return drop(skb, p, point, CAIRN_DROP_REWRITE);
	return forward(skb, point, CAIRN_HANDED_OVER, bpf_redirect(cairn_config.uplink_ifindex, 0));
}

static __always_inline bool is_own_address(const struct cairn_addr *address)
{
	return address_equal(address, &cairn_config.node_address) ||
	       address_equal(address, &cairn_config.node_address6);
}

/* Say in @w who is at the backend's address; a backend that is no pod is the node itself. */
static __always_inline enum cairn_verdict find_backend(const struct packet *p, struct policing *w)
{
	struct cairn_endpoint *pod = bpf_map_lookup_elem(&endpoints, &p->tuple.destination);

	w->pod = 0;
	if (pod) {
		w->pod = pod->ifindex;
		policing_to_pod(w, pod);
		return CAIRN_PASS;
	}
	if (!is_own_address(&p->tuple.destination))
		return CAIRN_DROP_BACKEND_UNKNOWN;
	policing_to_node(w, p);
	return CAIRN_PASS;
}

/* With a frame of its own: the stack is short (512 octets for all calls). */
__noinline int nat_to_backend(struct __sk_buff *skb, const struct packet *p,
			      const struct cairn_backend *backend)
{
	if (!p || !backend)
		return CAIRN_DROP_REWRITE;
	return nat_destination(skb, p, &backend->address, backend->port);
}

/* Translate the packet to a backend of this node, and let it in as its policy says: of the client
 * and the backend, not of the service's address. */
__noinline int deliver_to(struct __sk_buff *skb, struct packet *p, __u32 point,
			  const struct cairn_backend *backend)
{
	struct policing *w = policing_begin(point);
	int verdict, policed = CAIRN_PASS;

	if (!p || !backend || !w)
		return TCX_DROP;
	w->service = p->tuple.destination;
	w->service_port = p->tuple.destination_port;
	p->tuple.destination = backend->address;
	p->tuple.destination_port = backend->port;
	verdict = find_backend(p, w);
	if (verdict == CAIRN_PASS && w->destination_flags & POLICED)
		policed = police_packet(skb, p, w);
	else if (events_on() && verdict == CAIRN_PASS && w->pod)
		watch_flow(skb, p, w);
	if (policed >= CAIRN_FIRST_DROP)
		return police_drop(skb, p, w, policed);
	p->tuple.destination = w->service;
	p->tuple.destination_port = w->service_port;
	if (verdict == CAIRN_PASS)
		verdict = nat_to_backend(skb, p, backend);
	if (verdict != CAIRN_PASS)
		return drop(skb, p, point, verdict);
	if (policed == CAIRN_TO_PROXY) {
		p->tuple.destination = backend->address;
		p->tuple.destination_port = backend->port;
		return police_to_proxy(skb, p, w);
	}
	return forward(skb, point, CAIRN_TO_BACKEND,
		       w->pod ? bpf_redirect_peer(w->pod, 0) : TCX_NEXT);
}

/* Find the backend of a connection that is known, and note the packet.
 *
 * Returns CAIRN_PASS if it is found, CAIRN_DROP_NO_BACKEND if another is to be chosen (there
 * is none, the service is another, the connection had ended and this opens a new one, or the packet
 * was handed over and the backend is not here), CAIRN_DROP_BACKEND_GONE if the connection lived
 * at a backend that is no more, which another backend could only answer with a reset.
 */
static __always_inline enum cairn_verdict find_known(const struct packet *p, __u32 octets,
						     __u32 service, bool handed,
						     struct choice *out)
{
	struct cairn_connection *c = bpf_map_lookup_elem(&conntrack, &p->tuple);
	bool tcp = p->tuple.protocol == IPPROTO_TCP, is_new = track_is_new(p);

	if (!c || c->service != service)
		return CAIRN_DROP_NO_BACKEND;
	if (choose(c->backend, out) != CAIRN_PASS || c->port != out->backend->port ||
	    !address_equal(&c->address, &out->backend->address))
		return tcp && !is_new ? CAIRN_DROP_BACKEND_GONE : CAIRN_DROP_NO_BACKEND;
	if (!(out->backend->flags & CAIRN_BACKEND_LOCAL) && handed)
		return CAIRN_DROP_NO_BACKEND;
	if (is_new && (c->state == CAIRN_STATE_CLOSING ||
		       out->backend->flags & CAIRN_BACKEND_TERMINATING))
		return CAIRN_DROP_NO_BACKEND;

	__u64 now = bpf_ktime_get_coarse_ns();

	/* The way back may have been swept: without it answers leave untranslated. */
	if (now - c->seen_ns > REFRESH_NS && out->backend->flags & CAIRN_BACKEND_LOCAL &&
	    track_reverse(p, out->backend, out->id, service, now) != CAIRN_PASS)
		return CAIRN_DROP_NO_BACKEND;
	track_touch(c, p, octets, now);
	return CAIRN_PASS;
}

static __always_inline enum cairn_verdict choose_for_client(const struct cairn_tuple *tuple,
							    const struct cairn_service *service,
							    bool handed, __u64 now,
							    struct choice *out)
{
	struct cairn_affinity_key key = {.client = tuple->source, .service = service->id};
	bool here = handed || service->flags & CAIRN_SERVICE_LOCAL;
	enum cairn_verdict verdict;

	if (!(service->flags & CAIRN_SERVICE_AFFINITY))
		return lb_choose(service, hash_tuple(tuple), handed, out);
	if (lb_choose_kept(service, &key, now, here, out)) {
		lb_keep(&key, out->id, now);
		return CAIRN_PASS;
	}
	verdict = lb_choose(service, hash_client(&tuple->source), handed, out);
	if (verdict == CAIRN_PASS)
		lb_keep(&key, out->id, now);
	return verdict;
}

/* Have the pod's answers to pods looked up as well: sockets of the cluster are translated before
 * they send, so that a pod who comes by packets (to another node's host port, or because it forwards
 * for others) is the exception, and the others' answers need no look. */
static __always_inline void note_inside(const struct packet *p, const struct cairn_addr *backend)
{
	struct cairn_prefix client = {.bits = 128, .address = p->tuple.source};
	struct cairn_endpoint *pod;

	if (!bpf_map_lookup_elem(&pod_routes, &client) &&
	    !bpf_map_lookup_elem(&endpoints, &client.address))
		return;
	pod = bpf_map_lookup_elem(&endpoints, backend);
	if (pod)
		pod->flags |= CAIRN_ENDPOINT_SERVES_INSIDE;
}

static __always_inline enum cairn_verdict begin(struct __sk_buff *skb, struct packet *p,
						enum cairn_point point,
						const struct cairn_service *service, bool handed,
						struct choice *out)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	enum cairn_verdict verdict = choose_for_client(&p->tuple, service, handed, now, out);

	if (verdict != CAIRN_PASS)
		return verdict;
	if (!out->backend)
		return CAIRN_DROP_BACKEND_UNKNOWN;
	if (!(out->backend->flags & CAIRN_BACKEND_LOCAL)) {
		/* Maglev finds the backend again: an entry is good to have and no more. */
		if (track_may_begin(now)) {
			track_forward(p, out->backend, out->id, service->id, skb->len);
			if (events_on())
				observe_choice(p, point << 8 | CAIRN_HANDED_OVER, out->backend,
					       skb->ifindex, skb->len);
		}
		return CAIRN_PASS;
	}
	verdict = track_reverse(p, out->backend, out->id, service->id, now);
	if (verdict != CAIRN_PASS)
		return verdict;
	COUNT_BACKEND(out->id, opened);
	note_inside(p, &out->backend->address);
	if (events_on())
		observe_choice(p, point << 8 | CAIRN_TO_BACKEND, out->backend, skb->ifindex,
			       skb->len);
	return track_forward(p, out->backend, out->id, service->id, skb->len);
}

/* Refuse for a reason that the client should know; others are dropped without a word. */
static __always_inline int reject(struct __sk_buff *skb, struct packet *p, enum cairn_point point,
				  enum cairn_verdict reason)
{
	switch (reason) {
	case CAIRN_DROP_NO_SERVICE:
	case CAIRN_DROP_NO_BACKEND:
	case CAIRN_DROP_BACKEND_GONE:
		return refuse(skb, p, point, reason, REFUSED_PORT);
	default:
		return drop(skb, p, point, reason);
	}
}

static __always_inline int serve(struct __sk_buff *skb, struct packet *p, enum cairn_point point,
				 __u32 vip_flags, bool handed)
{
	struct cairn_service_key key = {
		.address = p->tuple.destination,
		.port = p->tuple.destination_port,
		.protocol = p->tuple.protocol,
	};
	struct cairn_service *service = lb_find(&key, vip_flags & CAIRN_VIP_NODE);
	struct choice choice = {};
	enum cairn_verdict verdict;

	if (!service)
		return vip_flags & CAIRN_VIP_SHARED
			       ? enter_node(skb, p, point)
			       : reject(skb, p, point, CAIRN_DROP_NO_SERVICE);
	if (!lb_source_allowed(service, &p->tuple.source))
		return drop(skb, p, point, CAIRN_DROP_SOURCE_RANGE);
	if (!handed && !source_was_judged(skb, p) && !source_is_slow(service, p))
		return drop(skb, p, point, CAIRN_DROP_SOURCE_RATE);
	verdict = find_known(p, skb->len, service->id, handed, &choice);
	if (verdict == CAIRN_DROP_NO_BACKEND)
		verdict = begin(skb, p, point, service, handed, &choice);
	if (verdict == CAIRN_PASS && !choice.backend)
		verdict = CAIRN_DROP_BACKEND_UNKNOWN;
	if (verdict != CAIRN_PASS || !choice.backend)
		return reject(skb, p, point, verdict);
	if (choice.backend->flags & CAIRN_BACKEND_LOCAL)
		return deliver_to(skb, p, point, choice.backend);
	return hand_over(skb, p, point, choice.backend);
}

/* Find the backend of the connection that an ICMP error is about; none is begun. */
static __always_inline enum cairn_verdict find_quoted(const struct quote *q, __u32 vip_flags,
						      bool handed, struct choice *out)
{
	struct cairn_service_key key = {
		.address = q->tuple.destination,
		.port = q->tuple.destination_port,
		.protocol = q->tuple.protocol,
	};
	struct cairn_service *service = lb_find(&key, vip_flags & CAIRN_VIP_NODE);
	struct cairn_connection *c = bpf_map_lookup_elem(&conntrack, &q->tuple);

	if (!service)
		return CAIRN_DROP_ICMP_TYPE;
	if (c && c->service == service->id && choose(c->backend, out) == CAIRN_PASS &&
	    (!handed || out->backend->flags & CAIRN_BACKEND_LOCAL))
		return CAIRN_PASS;

	__u32 hash = service->flags & CAIRN_SERVICE_AFFINITY ? hash_client(&q->tuple.source)
							     : hash_tuple(&q->tuple);

	return lb_choose(service, hash, handed, out);
}

/* Translate an ICMP error, and judge it as the packet that it then quotes. */
static __always_inline int deliver_error(struct __sk_buff *skb, struct packet *p,
					 enum cairn_point point, const struct quote *q,
					 const struct cairn_backend *backend)
{
	struct policing *w = policing_begin(point);
	int verdict = icmp_translate(skb, p, q, &backend->address, backend->port), action;

	p->tuple.destination = backend->address;
	if (!w)
		return TCX_DROP;
	if (verdict == CAIRN_PASS)
		verdict = find_backend(p, w);
	if (verdict != CAIRN_PASS)
		return drop(skb, p, point, verdict);
	if (w->destination_flags & POLICED && !police(skb, p, w, &action))
		return action;
	return forward(skb, point, CAIRN_TO_BACKEND,
		       w->pod ? bpf_redirect_peer(w->pod, 0) : TCX_NEXT);
}

static __always_inline int serve_icmp_error(struct __sk_buff *skb, struct packet *p,
					    enum cairn_point point, __u32 vip_flags, bool handed)
{
	struct quote q = {};
	struct choice choice = {};
	enum cairn_verdict verdict = icmp_read_quote(skb, p, &q);

	if (verdict == CAIRN_PASS)
		verdict = find_quoted(&q, vip_flags, handed, &choice);
	if (verdict != CAIRN_PASS)
		return vip_flags & CAIRN_VIP_SHARED ? enter_node(skb, p, point)
						    : drop(skb, p, point, verdict);
	if (!choice.backend)
		return drop(skb, p, point, CAIRN_DROP_BACKEND_UNKNOWN);
	if (!(choice.backend->flags & CAIRN_BACKEND_LOCAL))
		return hand_over(skb, p, point, choice.backend);

	return deliver_error(skb, p, point, &q, choice.backend);
}

static __always_inline int serve_icmp(struct __sk_buff *skb, struct packet *p,
				      enum cairn_point point, __u32 vip_flags, bool handed)
{
	if (icmp_is_error(p))
		return serve_icmp_error(skb, p, point, vip_flags, handed);
	if (vip_flags & CAIRN_VIP_SHARED)
		return enter_node(skb, p, point);
	if (is_solicitation(p) && solicits_ours(skb, p))
		return neighbour_answer(skb, p, point);
	if (!(vip_flags & CAIRN_VIP_PING) || (p->has_l4 && !packet_is_echo(p)))
		return drop(skb, p, point, CAIRN_DROP_ICMP_TYPE);
	return ping_answer(skb, p, point);
}

static __always_inline int serve_vip(struct __sk_buff *skb, struct packet *p,
				     enum cairn_point point, __u32 vip_flags, bool handed)
{
	if (!(vip_flags & CAIRN_VIP_SHARED)) {
		if (!address_is_host(&p->tuple.source))
			return drop(skb, p, point, CAIRN_DROP_NO_HOST);
		if (is_group_frame(skb)) /* RFC 1122 s3.3.6: all nodes would take it */
			return drop(skb, p, point, CAIRN_DROP_GROUP_FRAME);
	}
	if (!packet_has_ports(p) && !packet_is_icmp(p))
		return vip_flags & CAIRN_VIP_SHARED ? enter_node(skb, p, point)
						    : drop(skb, p, point, CAIRN_DROP_PROTOCOL);

	enum cairn_verdict verdict = packet_read_l4(skb, p);

	if (verdict != CAIRN_PASS)
		return vip_flags & CAIRN_VIP_SHARED ? enter_node(skb, p, point)
						    : drop(skb, p, point, verdict);
	if (packet_is_icmp(p))
		return serve_icmp(skb, p, point, vip_flags, handed);
	return serve(skb, p, point, vip_flags, handed);
}

/* Whether an address belongs to a pool; one that a service holds is in `vips`. */
static __always_inline bool is_free_address(const struct cairn_addr *address)
{
	struct cairn_prefix where = {.bits = 128, .address = *address};

	return bpf_map_lookup_elem(&pools, &where);
}
