/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Read a frame where XDP meets it: headers straight from memory, and only the plain ones.
 *
 * What is not plain (VLAN tags, options, extension headers, fragments, frames for other hosts,
 * headers that end early) is the tcx program's, which reads everything.
 */
#pragma once

#include "observe.h"

struct xdp_frame {
	struct packet packet;
	__u64 sender; /* Ethernet source in the six higher octets; only to be compared */
	__u32 octets; /* of the frame; of one in several buffers those of the first */
	bool has_ports; /* a whole TCP or UDP header follows a plain IP header */
};

/* Octets taken or put in one piece. Of a pointer that comes as void * clang does not know that it lies
 * in a packed structure, for which it would take them one by one. */
static __always_inline __u16 take16(const volatile void *from)
{
	return *(const volatile __u16 *)from;
}

static __always_inline __u32 take32(const volatile void *from)
{
	return *(const volatile __u32 *)from;
}

static __always_inline __u64 take64(const volatile void *from)
{
	return *(const volatile __u64 *)from;
}

static __always_inline void put16(void *to, __u16 value)
{
	*(volatile __u16 *)to = value;
}

static __always_inline void put32(void *to, __u32 value)
{
	*(volatile __u32 *)to = value;
}

static __always_inline bool xdp_is_whole(struct xdp_md *ctx, const struct xdp_frame *f,
					 __u32 packet_octets)
{
	/* A large frame lies in several buffers: only then its length costs a call. */
	return f->octets >= ETH_HLEN + packet_octets ||
	       bpf_xdp_get_buff_len(ctx) >= ETH_HLEN + packet_octets;
}

/* Read the ports and TCP flags at @at. */
static __always_inline void xdp_read_ports(void *data, void *end, __u32 at, struct xdp_frame *f)
{
	struct tcphdr *tcp = data + at;
	struct udphdr *udp = data + at;

	if (f->packet.tuple.protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > end)
			return;
		f->packet.tcp_flags = ((__u8 *)tcp)[TCP_FLAGS_AT];
	} else if (f->packet.tuple.protocol != IPPROTO_UDP || (void *)(udp + 1) > end) {
		return;
	}
	put32(&f->packet.tuple.source_port, take32(&udp->source));
	f->packet.has_l4 = true;
	f->has_ports = true;
}

static __always_inline bool xdp_read_ip4(struct xdp_md *ctx, void *data, void *end,
					 struct xdp_frame *f)
{
	struct iphdr *ip = data + ETH_HLEN;
	__u32 need;

	if ((void *)(ip + 1) > end || ip->version != 4)
		return false;
	address_map(&f->packet.tuple.source, ip->saddr);
	address_map(&f->packet.tuple.destination, ip->daddr);
	f->packet.tuple.protocol = ip->protocol;
	need = sizeof(*ip) + (ip->protocol == IPPROTO_TCP ? sizeof(struct tcphdr)
							  : sizeof(struct udphdr));
	if (ip->ihl == 5 && !(ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET_MASK)) &&
	    bpf_ntohs(ip->tot_len) >= need && xdp_is_whole(ctx, f, bpf_ntohs(ip->tot_len)))
		xdp_read_ports(data, end, ETH_HLEN + sizeof(*ip), f);
	return true;
}

static __always_inline bool xdp_read_ip6(struct xdp_md *ctx, void *data, void *end,
					 struct xdp_frame *f)
{
	struct ipv6hdr *ip = data + ETH_HLEN;
	__u32 need;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return false;
	__builtin_memcpy(&f->packet.tuple.source, &ip->saddr, sizeof(struct cairn_addr));
	__builtin_memcpy(&f->packet.tuple.destination, &ip->daddr, sizeof(struct cairn_addr));
	f->packet.tuple.protocol = ip->nexthdr;
	f->packet.is_v6 = true;
	need = ip->nexthdr == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
	if (bpf_ntohs(ip->payload_len) >= need &&
	    xdp_is_whole(ctx, f, IP6_HEADER + bpf_ntohs(ip->payload_len)))
		xdp_read_ports(data, end, ETH_HLEN + IP6_HEADER, f);
	return true;
}

/* Read no more than where a frame goes that is for this node; false if it is not, or not IP. */
static __always_inline bool xdp_read_destination(struct xdp_md *ctx, struct cairn_addr *out)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip4 = data + ETH_HLEN;
	struct ipv6hdr *ip6 = data + ETH_HLEN;

	if ((void *)(ip4 + 1) > end ||
	    take32(ethernet->h_dest) != take32(cairn_config.uplink_mac) ||
	    take16(ethernet->h_dest + 4) != take16(cairn_config.uplink_mac + 4))
		return false;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		address_map(out, ip4->daddr);
		return true;
	}
	if (ethernet->h_proto != bpf_htons(ETH_P_IPV6) || (void *)(ip6 + 1) > end)
		return false;
	__builtin_memcpy(out, &ip6->daddr, sizeof(*out));
	return true;
}

/* Read the frame whose destination was read. */
static __always_inline bool xdp_read(struct xdp_md *ctx, struct xdp_frame *f)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;

	if ((void *)(ethernet + 1) > end)
		return false;
	f->sender = take64(ethernet->h_source) << 16; /* without the two octets behind it */
	f->octets = end - data;
	return ethernet->h_proto == bpf_htons(ETH_P_IP) ? xdp_read_ip4(ctx, data, end, f)
							: xdp_read_ip6(ctx, data, end, f);
}
