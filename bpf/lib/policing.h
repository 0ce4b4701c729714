/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The packet that is judged, who is at its ends, and what came out. */
#pragma once

#include "flow.h"
#include "policy.h"

enum policing_sender {
	SENT_BY_OTHER = 0, /* a pod, or whoever sends on the wire */
	SENT_BY_NODE = 1, /* this node itself, from an address of its own */
	SENT_BY_PROXY = 2, /* a proxy of this node, from the address that its client asked */
	SENT_FOR_POD = 3, /* a proxy, to whom a pod of this node, judged on egress, wants to speak */
	SENT_TO_POD = 4, /* a proxy, to a pod of this node, judged on ingress */
};

/* A packet that is judged. It lies in a map, one for each CPU, since the stack is short (512 octets for
 * all calls); no program interrupts another. */
struct policing {
	/* Identities and flags (cairn_endpoint_flag) of the ends that are of this node; 0: not. */
	__u32 source;
	__u32 source_flags;
	__u32 destination;
	__u32 destination_flags;
	__u32 revision;
	__u32 state; /* cairn_policy_flag */
	/* What came out. */
	__u32 rule; /* which decided last */
	__u32 audit_egress; /* rules that would have decided otherwise */
	__u32 audit_ingress;
	__u32 source_identity; /* of the ends, where they were looked up */
	__u32 destination_identity;
	__u32 flags; /* cairn_event_flag */
	__be16 proxy; /* with TO_PROXY: port of the listener; 0: its own connection */
	__u8 sender; /* policing_sender */
	__u8 point; /* cairn_point */
	/* Room for the work. */
	struct policy_question question;
	struct cairn_policy_verdict verdict;
	struct flow_place place;
	struct cairn_tuple error; /* of an ICMP message, while what it quotes is judged */
	struct cairn_policy_flow fresh;
	struct cairn_addr service; /* what the destination was, while the backend is judged */
	__u32 pod; /* interface of the backend, or 0 */
	__be16 service_port;
	__u16 pad;
	/* The coarse clock, and the jiffy that it was read in. */
	__u64 jiffy;
	__u64 now_ns;
};
CAIRN_MAP(policing, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct policing, 0);

/* Returns NULL never, as the verifier cannot know. */
static __always_inline struct policing *policing_begin(enum cairn_point point)
{
	__u32 zero = 0;
	struct policing *w = bpf_map_lookup_elem(&policing, &zero);

	if (w) {
		__builtin_memset(w, 0, offsetof(struct policing, question));
		w->point = point;
	}
	return w;
}

static __always_inline void policing_from_pod(struct policing *w, const struct cairn_endpoint *pod)
{
	w->source = pod->identity;
	w->source_flags = pod->flags;
	w->flags |= CAIRN_EVENT_FROM_POD;
}

static __always_inline void policing_to_pod(struct policing *w, const struct cairn_endpoint *pod)
{
	w->destination = pod->identity;
	w->destination_flags = pod->flags;
	w->flags |= CAIRN_EVENT_TO_POD;
}

/* The coarse clock goes by jiffies, which cost a load and no call. */
static __always_inline __u64 clock_now(struct policing *w)
{
	__u64 jiffy = bpf_jiffies64();

	if (w->jiffy != jiffy) {
		w->jiffy = jiffy;
		w->now_ns = bpf_ktime_get_coarse_ns();
	}
	return w->now_ns;
}
