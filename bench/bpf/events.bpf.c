/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Write events into the ring as the data plane does, without packets to cause them.
 *
 * Each run tells of one connection of a pod: that it began, that it ended, what its service's address
 * became, or that it was dropped. A full ring is counted where the data plane counts it.
 */
#include "../../bpf/lib/observe.h"

/* How many pods take turns (a power of two less one). */
const volatile __u32 pod_mask SEC(".rodata.bench") = 0;
__u64 turn;

/* Of sixteen events: seven begin, seven end, one translates, one is a drop. */
static __always_inline __u32 kind_of(__u64 number)
{
	__u32 place = number & 15;

	if (place == 15)
		return CAIRN_EVENT_KIND_DROP;
	if (place == 14)
		return CAIRN_EVENT_KIND_TRANSLATED;
	return place & 1 ? CAIRN_EVENT_KIND_CLOSED : CAIRN_EVENT_KIND_NEW;
}

SEC("xdp")
int tell(struct xdp_md *ctx)
{
	__u32 random = bpf_get_prandom_u32(), kind = kind_of(turn++);
	__u32 verdict = kind == CAIRN_EVENT_KIND_DROP ? CAIRN_DROP_POLICY_DENIED : CAIRN_PASS;
	struct cairn_event *event;

	event = event_begin(kind, CAIRN_POINT_POD << 8 | verdict, 74);
	if (!event)
		return XDP_PASS;
	address_map(&event->source, bpf_htonl(0x0af40000 | (random & pod_mask)));
	address_map(&event->destination, bpf_htonl(0x0af40000 | (random >> 16 & pod_mask)));
	event->source_port = bpf_htons(1024 + (random & 0x7fff));
	event->destination_port = bpf_htons(80);
	event->protocol = IPPROTO_TCP;
	event->flags = CAIRN_EVENT_FROM_POD;
	if (kind == CAIRN_EVENT_KIND_CLOSED) {
		event->packets = 10;
		event->octets = 4000;
	}
	bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
