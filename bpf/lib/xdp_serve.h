/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Judge a frame that arrives on the uplink, before the kernel makes a packet of it.
 *
 *   from a source on the deny list                        -> dropped
 *   to a service, from a client that it does not serve    -> dropped
 *   to a service, from a client that opens too fast       -> dropped
 *   to a pod or service, faster than a policy allows      -> dropped
 *   to a service, TCP or UDP, backend on a node beside us -> handed over, if the device can
 *   anything else                                         -> on to tcx, untouched and uncounted
 *
 * Only what ends here is counted, so that nothing is counted twice. What is handed over is
 * chosen and remembered exactly as serve.h does it; where serve.h would answer, refuse or deliver, the
 * frame is left to it before any state is made.
 */
#pragma once

#include "inline.h"
#include "rate.h"
#include "xdp_flows.h"
#include "xdp_facts.h"

#define XDP_POINT CAIRN_POINT_XDP

CAIRN_MAP(xdp_entry_limit, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct limit, 0);

static __always_inline int xdp_drop_by(struct xdp_md *ctx, struct xdp_frame *f,
				       enum cairn_verdict reason, __u32 rule)
{
	count(XDP_POINT, reason, f->octets);
	observe_packet(&f->packet, XDP_POINT << 8 | reason, ctx->ingress_ifindex, f->octets, rule);
	return XDP_DROP;
}

static __always_inline int xdp_drop(struct xdp_md *ctx, struct xdp_frame *f,
				    enum cairn_verdict reason)
{
	return xdp_drop_by(ctx, f, reason, 0);
}

/* Send the frame on to the next node, whose address is @next and @next_end. */
static __always_inline int xdp_send(struct xdp_md *ctx, const struct xdp_frame *f, __u32 next,
				    __u16 next_end)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;

	if ((void *)(ethernet + 1) > end)
		return XDP_PASS;
	put32(ethernet->h_dest, next);
	put16(ethernet->h_dest + 4, next_end);
	put32(ethernet->h_source, take32(cairn_config.uplink_mac));
	put16(ethernet->h_source + 4, take16(cairn_config.uplink_mac + 4));
	count(XDP_POINT, CAIRN_HANDED_OVER, f->octets);
	return XDP_TX;
}

/* What find_known() of serve.h says of the connection @c: CAIRN_PASS if it goes on at the backend
 * @out, CAIRN_DROP_NO_BACKEND if it begins anew, CAIRN_DROP_BACKEND_GONE. */
static __always_inline enum cairn_verdict xdp_known(const struct cairn_connection *c,
						    const struct packet *p, __u32 service,
						    struct choice *out)
{
	bool is_new = track_is_new(p);

	if (c->service != service)
		return CAIRN_DROP_NO_BACKEND;
	if (choose(c->backend, out) != CAIRN_PASS || c->port != out->backend->port ||
	    !address_equal(&c->address, &out->backend->address))
		return p->tuple.protocol == IPPROTO_TCP && !is_new ? CAIRN_DROP_BACKEND_GONE
								   : CAIRN_DROP_NO_BACKEND;
	if (is_new && (c->state == CAIRN_STATE_CLOSING ||
		       out->backend->flags & CAIRN_BACKEND_TERMINATING))
		return CAIRN_DROP_NO_BACKEND;
	return CAIRN_PASS;
}

/* Remember where the flow of the connection @c goes. */
static __always_inline void xdp_remember(struct xdp_frame *f, struct flow *flow, __u32 moment,
					 const struct fact_hop *hop)
{
	if (!flow)
		flow = flow_take(flow_hash(&f->packet.tuple), moment);
	if (!flow)
		return;
	flow->tuple = f->packet.tuple;
	flow->sender = f->sender | hop->mac_end;
	flow->next_mac = hop->mac;
	flow->moment = moment;
}

/* Whether one more entry may be made, as track_may_begin() says, without a call for the time. */
static __always_inline bool xdp_may_begin(void)
{
	__u32 zero = 0, second = bpf_jiffies64() >> flow_config.moment_log;
	struct limit *limit = bpf_map_lookup_elem(&xdp_entry_limit, &zero);

	if (!limit || !cairn_config.entries_per_s)
		return true;
	if (limit->since_ns != second) {
		limit->since_ns = second;
		limit->count = 0;
	}
	return limit->count++ < cairn_config.entries_per_s;
}

/* Make the entry of a connection; without one Maglev finds its backend again. */
static __always_inline void xdp_note(struct xdp_md *ctx, struct xdp_frame *f, __u32 service,
				     __u32 backend)
{
	struct choice choice = {};

	if (choose(backend, &choice) != CAIRN_PASS || !choice.backend)
		return;
	track_forward(&f->packet, choice.backend, choice.id, service, f->octets);
	if (events_on())
		observe_choice(&f->packet, XDP_POINT << 8 | CAIRN_HANDED_OVER, choice.backend,
			       ctx->ingress_ifindex, f->octets);
}

/* Begin a connection, as begin() of serve.h does for a backend that is not here. */
static __always_inline int xdp_begin(struct xdp_md *ctx, struct xdp_frame *f, __u32 moment,
				     const struct cairn_service *service)
{
	struct fact_hop hop = {};
	__u32 id;

	if (!service->slots || service->flags & (CAIRN_SERVICE_AFFINITY | CAIRN_SERVICE_LOCAL))
		return XDP_PASS;
	id = lb_maglev_entry(service, hash_tuple(&f->packet.tuple));
	fact_find_hop(id, moment, &hop);
	if (hop.kind == HOP_NONE)
		return XDP_PASS;
	if (xdp_may_begin())
		xdp_note(ctx, f, service->id, id);
	return xdp_send(ctx, f, hop.mac, hop.mac_end);
}

/* Lead a frame of the known connection @c on; @hop is HOP_NONE if it goes no further here.
 *
 * Returns as xdp_known() does. */
static __always_inline enum cairn_verdict xdp_go_on(struct xdp_frame *f,
						    struct cairn_connection *c, __u32 moment,
						    const struct cairn_service *service,
						    struct fact_hop *hop)
{
	struct choice choice = {};
	enum cairn_verdict verdict = xdp_known(c, &f->packet, service->id, &choice);
	struct flow *flow = flow_find(&f->packet.tuple, flow_hash(&f->packet.tuple));

	if (verdict == CAIRN_PASS && choice.backend)
		fact_look_up_hop(choice.backend, hop);
	if (flow)
		flow_tell(flow, c);
	if (hop->kind == HOP_NONE) {
		if (flow)
			flow_forget(flow);
		return verdict;
	}
	track_touch(c, &f->packet, f->octets, bpf_ktime_get_coarse_ns());
	/* Datagrams of a service with a rate are judged one by one. */
	if (!service->source_rate || f->packet.tuple.protocol == IPPROTO_TCP)
		xdp_remember(f, flow, moment, hop);
	return verdict;
}

static __always_inline int xdp_hand_over(struct xdp_md *ctx, struct xdp_frame *f, __u32 moment,
					 const struct cairn_service *service)
{
	struct cairn_connection *c = bpf_map_lookup_elem(&conntrack, &f->packet.tuple);
	struct fact_hop hop = {};

	if (c && xdp_go_on(f, c, moment, service, &hop) != CAIRN_DROP_NO_BACKEND)
		return hop.kind == HOP_NONE ? XDP_PASS : xdp_send(ctx, f, hop.mac, hop.mac_end);
	return xdp_begin(ctx, f, moment, service);
}

/* A frame to a service address that no memory leads on. */
static __always_inline int xdp_serve(struct xdp_md *ctx, struct xdp_frame *f, __u32 vip_flags,
				     __u32 moment)
{
	struct cairn_service service = {};

	if (fact_is_peer(f, moment)) /* which has judged it */
		return XDP_PASS;
	if (!fact_find_service(f, vip_flags, moment, &service))
		return XDP_PASS;
	if (!lb_source_allowed(&service, &f->packet.tuple.source))
		return xdp_drop(ctx, f, CAIRN_DROP_SOURCE_RANGE);
	if (!source_is_slow(&service, &f->packet))
		return xdp_drop(ctx, f, CAIRN_DROP_SOURCE_RATE);
	if (!(cairn_config.flags & CAIRN_CONFIG_XDP_HAND_OVER))
		return XDP_PASS;
	return xdp_hand_over(ctx, f, moment, &service);
}

/* The rule whose limit the frame exceeds, or 0. What a peer handed over counts here as well: there
 * it may have met no limit, and each node has buckets of its own. */
static __always_inline __u32 xdp_find_limit(const struct cairn_revision *now,
					    const struct xdp_frame *f)
{
	if (!(now->flags & CAIRN_REVISION_POLICY_RATES) || !f->has_ports)
		return 0;
	return rate_judge(&f->packet);
}

/* A frame to an address that is no service's. */
static __always_inline int xdp_judge_other(struct xdp_md *ctx, const struct cairn_revision *now)
{
	struct xdp_frame f = {};
	__u32 rule;

	if (!(now->flags & (CAIRN_REVISION_DENIED | CAIRN_REVISION_POLICY_RATES)) ||
	    !xdp_read(ctx, &f))
		return XDP_PASS;
	if (source_is_denied(now, &f.packet.tuple.source))
		return xdp_drop(ctx, &f, CAIRN_DROP_DENIED);
	rule = xdp_find_limit(now, &f);
	if (rule)
		return xdp_drop_by(ctx, &f, CAIRN_DROP_POLICY_RATE, rule);
	return XDP_PASS;
}

/* Whether a flow may be led on by memory: the datagrams of one with a limit are judged one by one. */
static __always_inline bool xdp_may_remember(const struct cairn_revision *now,
					     const struct xdp_frame *f)
{
	return f->packet.tuple.protocol == IPPROTO_TCP ||
	       !(now->flags & CAIRN_REVISION_POLICY_RATES);
}

static __always_inline int xdp_judge(struct xdp_md *ctx)
{
	struct cairn_revision now = revision_now();
	__u32 moment = flow_moment(&now), vip_flags, rule;
	struct cairn_addr destination;
	struct xdp_frame f = {};

	if (!xdp_read_destination(ctx, &destination))
		return XDP_PASS;
	vip_flags = fact_vip_flags(&destination, moment);
	if (!vip_flags)
		return xdp_judge_other(ctx, &now);
	if (!xdp_read(ctx, &f))
		return XDP_PASS;
	if (f.has_ports && cairn_config.flags & CAIRN_CONFIG_XDP_HAND_OVER && flow_is_plain(&f) &&
	    xdp_may_remember(&now, &f)) {
		struct flow *flow = flow_find(&f.packet.tuple, flow_hash(&f.packet.tuple));

		if (flow && flow_is_good(flow, &f, moment)) {
			flow->seen += FLOW_PACKET + f.octets;
			return xdp_send(ctx, &f, flow->next_mac, flow->sender);
		}
	}
	if (source_is_denied(&now, &f.packet.tuple.source))
		return xdp_drop(ctx, &f, CAIRN_DROP_DENIED);
	if (!f.has_ports)
		return XDP_PASS;
	rule = xdp_find_limit(&now, &f);
	if (rule)
		return xdp_drop_by(ctx, &f, CAIRN_DROP_POLICY_RATE, rule);
	return xdp_serve(ctx, &f, vip_flags, moment);
}
