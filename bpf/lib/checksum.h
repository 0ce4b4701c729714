/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the kernel knows of a packet's transport checksum. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define CHECKSUM_PARTIAL 3

/* Of the kernel's sk_buff, what says who completes the transport checksum. */
struct sk_buff___cairn {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *skb) __ksym;

/* Whether the sender left the transport checksum to the device. */
static __always_inline bool checksum_is_partial(struct __sk_buff *skb)
{
	struct sk_buff___cairn *kernel = bpf_cast_to_kern_ctx(skb);

	return BPF_CORE_READ_BITFIELD(kernel, ip_summed) == CHECKSUM_PARTIAL;
}
