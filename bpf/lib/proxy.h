/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Give packets to a proxy on this node, by its sockets (bpf_sk_assign): a connection's own first, else
 * that which listens on loopback. The proxy sees both ends' real addresses (IP_TRANSPARENT).
 *
 * The mark TO_PROXY makes the node's routes deliver the packet locally, whatever its destination.
 */
#pragma once

#include "observe.h"

#define THIS_NETNS BPF_F_CURRENT_NETNS
#define LOOPBACK4 bpf_htonl(0x7f000001)

static __always_inline __u32 proxy_tuple(const struct packet *p, struct bpf_sock_tuple *t)
{
	if (p->is_v6) {
		__builtin_memcpy(t->ipv6.saddr, &p->tuple.source, sizeof(t->ipv6.saddr));
		__builtin_memcpy(t->ipv6.daddr, &p->tuple.destination, sizeof(t->ipv6.daddr));
		t->ipv6.sport = p->tuple.source_port;
		t->ipv6.dport = p->tuple.destination_port;
		return sizeof(t->ipv6);
	}
	t->ipv4.saddr = p->tuple.source.word[3];
	t->ipv4.daddr = p->tuple.destination.word[3];
	t->ipv4.sport = p->tuple.source_port;
	t->ipv4.dport = p->tuple.destination_port;
	return sizeof(t->ipv4);
}

static __always_inline struct bpf_sock *find_tcp(struct __sk_buff *skb, struct bpf_sock_tuple *t,
						 __u32 octets)
{
	return octets == sizeof(t->ipv4)
		       ? bpf_skc_lookup_tcp(skb, t, sizeof(t->ipv4), THIS_NETNS, 0)
		       : bpf_skc_lookup_tcp(skb, t, sizeof(t->ipv6), THIS_NETNS, 0);
}

static __always_inline struct bpf_sock *find_udp(struct __sk_buff *skb, struct bpf_sock_tuple *t,
						 __u32 octets)
{
	return octets == sizeof(t->ipv4)
		       ? bpf_sk_lookup_udp(skb, t, sizeof(t->ipv4), THIS_NETNS, 0)
		       : bpf_sk_lookup_udp(skb, t, sizeof(t->ipv6), THIS_NETNS, 0);
}

static __always_inline bool is_bound_to(const struct bpf_sock *socket, const struct packet *p)
{
	if (!p->is_v6)
		return socket->src_ip4 == p->tuple.destination.word[3];
	return socket->src_ip6[0] == p->tuple.destination.word[0] &&
	       socket->src_ip6[1] == p->tuple.destination.word[1] &&
	       socket->src_ip6[2] == p->tuple.destination.word[2] &&
	       socket->src_ip6[3] == p->tuple.destination.word[3];
}

/* The socket that has the packet's connection, or NULL; to be released. One that listens has not, nor
 * has one that has closed where a connection is opened anew. A datagram socket that is not
 * connected may be anybody's, unless it is bound to the very address, which is no node's own.
 *
 * @answer  the packet answers what the proxy sent
 *
 * The verifier wants one kind of socket at each load, and so clang must not join the loads.
 */
static __always_inline struct bpf_sock *proxy_find(struct __sk_buff *skb, const struct packet *p,
						   bool answer)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *socket;
	__u32 octets = proxy_tuple(p, &t), state;
	bool owns;

	if (p->tuple.protocol == IPPROTO_TCP) {
		socket = find_tcp(skb, &t, octets);
		if (!socket)
			return NULL;
		barrier_var(socket);
		state = socket->state;
		barrier_var(state);
		owns = state != BPF_TCP_LISTEN &&
		       (state != BPF_TCP_TIME_WAIT || !(p->tcp_flags & TCP_SYN));
	} else if (p->tuple.protocol == IPPROTO_UDP) {
		socket = find_udp(skb, &t, octets);
		if (!socket)
			return NULL;
		owns = socket->state == BPF_TCP_ESTABLISHED || (answer && is_bound_to(socket, p));
	} else {
		return NULL;
	}
	if (owns)
		return socket;
	bpf_sk_release(socket);
	return NULL;
}

/* Whether a socket of this node has the connection that the packet answers on. */
__noinline int proxy_has_socket(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock *socket = p ? proxy_find(skb, p, true) : NULL;

	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

/* Assign the packet to the connection's own socket. */
__noinline int proxy_assign_own(struct __sk_buff *skb, const struct packet *p, __u32 answer)
{
	struct bpf_sock *socket = p ? proxy_find(skb, p, answer) : NULL;
	bool done;

	if (!socket)
		return false;
	done = bpf_sk_assign(skb, socket, 0) == 0;
	bpf_sk_release(socket);
	return done;
}

/* Assign the packet to the socket that listens at @port of the packet's family. */
__noinline int proxy_assign_listener(struct __sk_buff *skb, const struct packet *p, __u32 port)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *socket;
	__u32 octets;
	bool done;

	if (!p)
		return false;
	octets = proxy_tuple(p, &t);
	if (p->is_v6) {
		__builtin_memset(t.ipv6.daddr, 0, sizeof(t.ipv6.daddr));
		t.ipv6.daddr[3] = bpf_htonl(1);
		t.ipv6.dport = port;
	} else {
		t.ipv4.daddr = LOOPBACK4;
		t.ipv4.dport = port;
	}
	if (p->tuple.protocol == IPPROTO_TCP)
		socket = find_tcp(skb, &t, octets);
	else if (p->tuple.protocol == IPPROTO_UDP)
		socket = find_udp(skb, &t, octets);
	else
		return false;
	if (!socket)
		return false;
	done = bpf_sk_assign(skb, socket, 0) == 0;
	bpf_sk_release(socket);
	return done;
}

static __always_inline void proxy_mark(struct __sk_buff *skb, __u32 mark)
{
	skb->mark = (skb->mark & ~CAIRN_MARK_MASK) | mark;
}

/* Give the packet to the proxy, at a hook where packets come in. Returns what the hook returns, or
 * TCX_DROP where nobody is there: uncounted.
 *
 * @port  of the listener; 0: it answers what the proxy sent, whose socket may be gone, in which
 *        case the node's stack says so to who sent it
 */
static __always_inline bool proxy_take(struct __sk_buff *skb, const struct packet *p, __be16 port)
{
	bool taken = proxy_assign_own(skb, p, !port);

	if (!taken && port)
		taken = proxy_assign_listener(skb, p, port);
	if (!taken && port)
		return false;
	proxy_mark(skb, CAIRN_MARK_TO_PROXY);
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return true;
}
