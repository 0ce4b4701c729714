/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The least a tcx program can do: what bench/uplink.py measures the others against. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
