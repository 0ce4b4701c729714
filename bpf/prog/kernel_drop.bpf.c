/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Tell of packets that the kernel itself drops (tracepoint skb:kfree_skb, with the kernel's own types).
 *
 *   for a reason that is not told (kernel_telling)                 -> nothing
 *   that the agent made, to try a program (path_proof.py)          -> nothing
 *   in a network namespace that is neither this node's nor a pod's -> nothing
 *   from or to a pod, of this node or another, or a service        -> counted, and told
 *   that a trace asks for                                          -> likewise
 *   anything else                                                  -> nothing
 *
 * Several nodes may share a kernel: each has a program here. Nothing is changed, and a packet that cannot
 * be read is nobody's.
 *
 * Cost: a look at a table for each packet that the kernel frees as dropped; 0.3 us for one that is told.
 */
#include "../lib/identity.h"
#include "../lib/kernel_packet.h"
#include "../lib/trace_match.h"

#define HERE CAIRN_POINT_KERNEL
#define BEYOND (CAIRN_KERNEL_REASONS - 1)

/* What is done about each reason: the numbers are this kernel's, and written before load. */
const volatile __u8 kernel_telling[CAIRN_KERNEL_REASONS] SEC(".rodata.kernel") = {};

CAIRN_MAP(watched_netns, BPF_MAP_TYPE_HASH, 4096, __u32, __u32, BPF_F_NO_PREALLOC);

struct ends {
	struct cairn_endpoint *source;
	struct cairn_endpoint *destination;
};

/* Whether a service has the address; that of a node only where one listens. */
static __always_inline bool is_service(const struct packet *p, const struct cairn_addr *address,
				       __be16 port)
{
	struct cairn_service_key key = {.port = port, .protocol = p->tuple.protocol};
	struct cairn_vip *vip = bpf_map_lookup_elem(&vips, address);

	if (!vip || !(vip->flags & CAIRN_VIP_SHARED))
		return vip;
	key.address = *address;
	if (bpf_map_lookup_elem(&services, &key))
		return true;
	address_clear(&key.address);
	return vip->flags & CAIRN_VIP_NODE && bpf_map_lookup_elem(&services, &key);
}

static __always_inline bool is_pod_elsewhere(const struct cairn_addr *address)
{
	struct cairn_prefix where = {.bits = ADDRESS_BITS, .address = *address};

	return bpf_map_lookup_elem(&pod_routes, &where);
}

__noinline int concerns_us(const struct packet *p)
{
	if (!p)
		return 0;
	return is_service(p, &p->tuple.destination, p->tuple.destination_port) ||
	       is_service(p, &p->tuple.source, p->tuple.source_port) ||
	       is_pod_elsewhere(&p->tuple.destination) || is_pod_elsewhere(&p->tuple.source);
}

static __always_inline bool is_pong(const struct packet *p)
{
	return packet_is_icmp(p) && p->icmp_type == (p->is_v6 ? ICMP6_ECHO_REPLY : ICMP_ECHO_REPLY);
}

static __always_inline bool is_told(const struct sk_buff *skb, const struct packet *p, __u32 reason)
{
	switch (kernel_telling[reason]) {
	case CAIRN_KERNEL_TOLD_BUT_PONG:
		return !is_pong(p);
	case CAIRN_KERNEL_TOLD_ON_ITS_WAY:
		return !kernel_is_delivered(skb);
	}
	return true;
}

static __always_inline void tell(const struct packet *p, const struct ends *ends, __u32 reason,
				 __u32 octets, __u32 ifindex)
{
	struct cairn_event *event =
		event_begin_at(CAIRN_VERDICT_SPACE + EVENT_KINDS + reason, cairn_config.drop_events,
			       CAIRN_EVENT_KIND_KERNEL_DROP, HERE << 8 | CAIRN_DROP_KERNEL, octets);

	if (!event)
		return;
	event_of_packet(event, p);
	event->kernel_reason = reason;
	event->ifindex = ifindex;
	if (ends->source) {
		event->source_identity = ends->source->identity;
		event->flags |= CAIRN_EVENT_FROM_POD;
	}
	if (ends->destination) {
		event->destination_identity = ends->destination->identity;
		event->flags |= CAIRN_EVENT_TO_POD;
	}
	if (!packet_opens_tcp(p))
		event->flags |= CAIRN_EVENT_REPLY_UNKNOWN;
	bpf_ringbuf_submit(event, 0);
}

SEC("tp_btf/kfree_skb")
int kernel_drop(__u64 *arguments)
{
	const struct sk_buff *skb = (const struct sk_buff *)arguments[0];
	__u32 reason = arguments[2] > BEYOND ? BEYOND : arguments[2];
	struct packet p = {};
	struct ends ends;
	__u32 netns, octets, ifindex = 0;
	bool ours;
	__u32 *whose;

	if (reason >= CAIRN_KERNEL_REASONS || kernel_telling[reason] == CAIRN_KERNEL_IGNORED)
		return 0;
	netns = kernel_netns(skb);
	whose = bpf_map_lookup_elem(&watched_netns, &netns);
	if (!whose || kernel_is_proof(skb) || !kernel_read_packet(skb, &p) || !is_told(skb, &p, reason))
		return 0;
	ends.source = bpf_map_lookup_elem(&endpoints, &p.tuple.source);
	ends.destination = bpf_map_lookup_elem(&endpoints, &p.tuple.destination);
	ours = ends.source;
	barrier_var(ours); /* clang 19 else joins the pointers by |, which the verifier forbids */
	if (!ours && !ends.destination && !concerns_us(&p) && !(tracing() && trace_matches(&p)))
		return 0;
	octets = BPF_CORE_READ(skb, len);
	if (*whose == CAIRN_NETNS_NODE)
		ifindex = kernel_ifindex(skb, netns);
	count(HERE, CAIRN_DROP_KERNEL, octets);
	tell(&p, &ends, reason, octets, ifindex);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
