/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The XDP program, a floor and an empty one, each on packets that differ from run to run.
 *
 * BPF_PROG_TEST_RUN gives a program the same frame again and again, as the last run left it. So each
 * program here first makes the frame of the next flow: this costs all of them alike.
 *
 * The floor is the least that a load balancer with one hash map could do: parse Ethernet, IP and the
 * ports, look the destination up, turn the frame round.
 */
#include "../../bpf/lib/xdp_serve.h"

/* How many flows take turns (a power of two), and where the IP header has its source. */
const volatile __u32 flow_mask SEC(".rodata.bench") = 0;
__u32 turn;

CAIRN_MAP(floor_vips, BPF_MAP_TYPE_HASH, 16384, struct cairn_addr, struct cairn_vip,
	  BPF_F_NO_PREALLOC);

#define ROUTER_MAC 0x010000000002ULL /* 02:00:00:00:00:01 as it lies in memory */
#define PORT_BITS 16

static __always_inline void put64(void *to, __u64 value)
{
	*(volatile __u64 *)to = value;
}

/* Make the frame that of the next flow, arriving from the router. Every store is as wide as
 * the loads that follow: a frame from a device would not make them wait for each other. */
static __always_inline int next_flow(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 own = take32(cairn_config.uplink_mac) |
		    (__u64)take16(cairn_config.uplink_mac + 4) << 32;
	/* An odd factor: another order than that of the numbers, every flow once. */
	__u32 flow = (turn++ * 2654435761u) & flow_mask;
	struct ethhdr *ethernet = data;
	struct iphdr *ip4 = data + ETH_HLEN;
	struct ipv6hdr *ip6 = data + ETH_HLEN;
	__u32 *ports;
	__u16 kind;

	if ((void *)(ip4 + 1) + sizeof(struct udphdr) > end)
		return -1;
	kind = ethernet->h_proto;
	put64(data, own | ROUTER_MAC << 48);
	put64(ethernet->h_source, ROUTER_MAC | (__u64)kind << 48);
	if (kind == bpf_htons(ETH_P_IP)) {
		put32(&ip4->saddr, bpf_htonl(0xcb007100 ^ flow >> PORT_BITS));
		ports = (void *)(ip4 + 1);
	} else {
		if ((void *)(ip6 + 1) + sizeof(struct udphdr) > end)
			return -1;
		put64(&ip6->saddr.s6_addr32[2], 7 + ((__u64)(flow >> PORT_BITS) << 32));
		ports = (void *)(ip6 + 1);
	}
	put32(ports, (flow & 0xffff) | bpf_htons(80) << 16);
	return 0;
}

SEC("xdp")
int bench_empty(struct xdp_md *ctx)
{
	return next_flow(ctx) < 0 ? XDP_ABORTED : XDP_TX;
}

static __always_inline int turn_round(struct ethhdr *ethernet)
{
	__u32 first = take32(ethernet->h_dest);
	__u16 last = take16(ethernet->h_dest + 4);

	put32(ethernet->h_dest, take32(ethernet->h_source));
	put16(ethernet->h_dest + 4, take16(ethernet->h_source + 4));
	put32(ethernet->h_source, first);
	put16(ethernet->h_source + 4, last);
	return XDP_TX;
}

static __always_inline int floor_of(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct cairn_addr destination;
	__u8 protocol;
	void *l4;

	if ((void *)(ethernet + 1) > end)
		return XDP_PASS;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl != 5 ||
		    ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET_MASK))
			return XDP_PASS;
		address_map(&destination, ip->daddr);
		protocol = ip->protocol;
		l4 = ip + 1;
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > end || ip->version != 6)
			return XDP_PASS;
		__builtin_memcpy(&destination, &ip->daddr, sizeof(destination));
		protocol = ip->nexthdr;
		l4 = ip + 1;
	} else {
		return XDP_PASS;
	}
	if (protocol == IPPROTO_TCP ? l4 + sizeof(struct tcphdr) > end
				    : l4 + sizeof(struct udphdr) > end)
		return XDP_PASS;
	return bpf_map_lookup_elem(&floor_vips, &destination) ? turn_round(ethernet) : XDP_PASS;
}

SEC("xdp")
int bench_floor(struct xdp_md *ctx)
{
	return next_flow(ctx) < 0 ? XDP_ABORTED : floor_of(ctx);
}

SEC("xdp.frags")
int bench_cairn(struct xdp_md *ctx)
{
	return next_flow(ctx) < 0 ? XDP_ABORTED : xdp_judge(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
