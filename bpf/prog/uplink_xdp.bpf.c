/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What arrives on the node's uplink, at its driver (XDP), IPv4 and IPv6 alike: drops what is not wanted, and
 * hands over what belongs to another node where the device can. See ../lib/xdp_serve.h.
 *
 * "frags": frames may lie in several buffers, so that it fits a device of any MTU.
 */
#include "../lib/trace_match.h"
#include "../lib/xdp_serve.h"

CAIRN_MAP(trace_frames, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct xdp_frame, 0);

/* Tell of a frame that ended here, if somebody asked to see it: but for its Ethernet header it is as it
 * came. */
__noinline int trace_frame(struct xdp_md *ctx)
{
	struct trace_note *note = trace_note_now();
	struct cairn_event *event;
	__u32 zero = 0;
	struct xdp_frame *f = bpf_map_lookup_elem(&trace_frames, &zero); /* the stack is short */

	if (!note || !f)
		return 0;
	__builtin_memset(f, 0, sizeof(*f));
	if (!xdp_read(ctx, f) || !trace_matches(&f->packet))
		return 0;
	event = event_begin(CAIRN_EVENT_KIND_PACKET, XDP_POINT << 8 | (note->verdict & 0xff),
			    f->octets);
	if (!event)
		return 0;
	event_of_packet(event, &f->packet);
	event->ifindex = ctx->ingress_ifindex;
	event->rule = note->verdict >= CAIRN_FIRST_DROP ? note->rule : 0;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* A function of its own, so that its stack is free again when the frame is told of. */
__noinline int judge_traced(struct xdp_md *ctx)
{
	return xdp_judge(ctx);
}

SEC("xdp.frags")
int uplink_xdp(struct xdp_md *ctx)
{
	int action;

	if (!tracing())
		return xdp_judge(ctx);
	action = judge_traced(ctx);
	if (action != XDP_PASS)
		trace_frame(ctx);
	return action;
}

char _license[] SEC("license") = "Dual BSD/GPL";
