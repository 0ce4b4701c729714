/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Read a packet where the kernel has it, as struct sk_buff: addresses, ports, network namespace.
 *
 * Nothing here is sure: a packet may be dropped before or after any of its headers was looked at, and the
 * place of its device may hold something else by then. Every read goes through
 * bpf_probe_read_kernel(), which fails for what is no memory of the kernel's.
 */
#pragma once

#include "packet.h"

#include <bpf/bpf_core_read.h>

#define DST_NO_REFERENCE 1UL
#define KERNEL_MOST_EXTENSIONS 4

/* The parts of the kernel's types that are read here; libbpf finds their places. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	possible_net_t nd_net;
	int ifindex;
};

struct dst_entry {
	struct net_device *dev;
};

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
	unsigned int len;
	unsigned int mark;
	__be16 protocol;
	__u16 network_header;
	unsigned char *head;
	unsigned char *data;
};

#pragma clang attribute pop

/* The network namespace where the packet is; 0 if nothing says it. Its socket goes first: while TCP has it
 * in a queue, something else stands in the place of its device. */
static __always_inline __u32 kernel_netns(const struct sk_buff *skb)
{
	struct sock *sk = BPF_CORE_READ(skb, sk);
	struct net_device *device;
	unsigned long route;

	if (sk)
		return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	device = BPF_CORE_READ(skb, dev);
	if (!device) { /* on its way out, and not there yet */
		route = BPF_CORE_READ(skb, _skb_refdst) & ~DST_NO_REFERENCE;
		device = route ? BPF_CORE_READ((struct dst_entry *)route, dev) : NULL;
	}
	return device ? BPF_CORE_READ(device, nd_net.net, ns.inum) : 0;
}

/* The interface that it came by or leaves by, if it is of @netns; else 0. */
static __always_inline __u32 kernel_ifindex(const struct sk_buff *skb, __u32 netns)
{
	struct net_device *device = BPF_CORE_READ(skb, dev);

	if (!device || BPF_CORE_READ(device, nd_net.net, ns.inum) != netns)
		return 0;
	return BPF_CORE_READ(device, ifindex);
}

static __always_inline bool kernel_is_proof(const struct sk_buff *skb)
{
	return (BPF_CORE_READ(skb, mark) & CAIRN_MARK_MASK) == CAIRN_MARK_PROOF;
}

/* Whether the packet had come to the protocol that its IP header names: that header lies behind. */
static __always_inline bool kernel_is_delivered(const struct sk_buff *skb)
{
	return BPF_CORE_READ(skb, data) - BPF_CORE_READ(skb, head) >
	       BPF_CORE_READ(skb, network_header);
}

static __always_inline bool kernel_read_ip4(const void *at, struct packet *p)
{
	struct iphdr ip;

	if (bpf_probe_read_kernel(&ip, sizeof(ip), at) || ip.version != 4 || ip.ihl < 5)
		return false;
	address_map(&p->tuple.source, ip.saddr);
	address_map(&p->tuple.destination, ip.daddr);
	p->tuple.protocol = ip.protocol;
	p->has_l4 = !(ip.frag_off & bpf_htons(IP_OFFSET_MASK));
	p->l4_at = ip.ihl * 4;
	return true;
}

/* Walk the extension headers (RFC 8200 s4); what lies behind more than a few is left unread. */
static __always_inline void kernel_skip_extensions(const void *at, struct packet *p)
{
	__u8 head[8];

	for (int i = 0; i < KERNEL_MOST_EXTENSIONS; i++) {
		__u8 next = p->tuple.protocol;

		if (next != NEXT_HOP_OPTIONS && next != NEXT_ROUTING &&
		    next != NEXT_DESTINATION_OPTIONS && next != NEXT_FRAGMENT)
			return;
		if (bpf_probe_read_kernel(head, sizeof(head), at + p->l4_at))
			break;
		p->tuple.protocol = head[0];
		if (next == NEXT_FRAGMENT && (head[2] << 8 | head[3]) & IP6_OFFSET_MASK)
			break;
		p->l4_at += next == NEXT_FRAGMENT ? sizeof(head) : (head[1] + 1) * 8;
	}
	p->has_l4 = false;
}

static __always_inline bool kernel_read_ip6(const void *at, struct packet *p)
{
	struct ipv6hdr ip;

	if (bpf_probe_read_kernel(&ip, sizeof(ip), at) || ip.version != 6)
		return false;
	__builtin_memcpy(&p->tuple.source, &ip.saddr, sizeof(p->tuple.source));
	__builtin_memcpy(&p->tuple.destination, &ip.daddr, sizeof(p->tuple.destination));
	p->tuple.protocol = ip.nexthdr;
	p->is_v6 = true;
	p->has_l4 = true;
	p->l4_at = IP6_HEADER;
	kernel_skip_extensions(at, p);
	return true;
}

static __always_inline void kernel_read_l4(const void *at, struct packet *p)
{
	__u8 head[16] = {};

	if (p->tuple.protocol == IPPROTO_TCP) {
		if (bpf_probe_read_kernel(head, sizeof(head), at))
			return;
	} else if (!(packet_has_ports(p) || packet_is_icmp(p)) ||
		   bpf_probe_read_kernel(head, sizeof(struct udphdr), at)) {
		return;
	}
	if (packet_is_icmp(p)) {
		p->icmp_type = head[0];
		p->icmp_code = head[1];
		return;
	}
	__builtin_memcpy(&p->tuple.source_port, head, 2);
	__builtin_memcpy(&p->tuple.destination_port, head + 2, 2);
	p->tcp_flags = head[TCP_FLAGS_AT];
}

/* Read IP and transport header into @p; false if there is no IP header to read. */
static __always_inline bool kernel_read_packet(const struct sk_buff *skb, struct packet *p)
{
	const void *at = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	__be16 protocol = BPF_CORE_READ(skb, protocol);
	bool read = false;

	if (protocol == bpf_htons(ETH_P_IP))
		read = kernel_read_ip4(at, p);
	else if (protocol == bpf_htons(ETH_P_IPV6))
		read = kernel_read_ip6(at, p);
	if (read && p->has_l4)
		kernel_read_l4(at + p->l4_at, p);
	return read;
}
