/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* End sockets that talk to a backend that is no more (iterators over the sockets of the network
 * namespace of whoever reads).
 *
 *   map             type    key                 value
 *   ending_sockets  HASH    cairn_socket_key    __u32 1
 *
 * User space writes which sockets are to go, by cookie and by whom they are connected to, and reads
 * back the keys of those that went. The process is told at its next call: ECONNABORTED, and where it
 * sends a datagram EDESTADDRREQ, as the socket is connected to nobody any more.
 * bpf_sock_destroy() is there from kernel 6.5 on.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <cairn/conntrack.h>

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define MAPPED 0xffff

/* The parts of the kernel's types that are read here; libbpf finds their places. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be16 skc_dport;
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr;
};

struct udp_sock;
struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
};

#pragma clang attribute pop

extern int bpf_sock_destroy(struct sock_common *sock) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cairn_socket_key);
	__type(value, __u32);
} ending_sockets SEC(".maps");

static __always_inline void read_peer(struct sock_common *sk, struct cairn_socket_key *key)
{
	key->port = sk->skc_dport;
	if (sk->skc_family == AF_INET) {
		key->address.word[2] = __builtin_bswap32(MAPPED);
		key->address.word[3] = sk->skc_daddr;
		return;
	}
	key->address.word[0] = sk->skc_v6_daddr.in6_u.u6_addr32[0];
	key->address.word[1] = sk->skc_v6_daddr.in6_u.u6_addr32[1];
	key->address.word[2] = sk->skc_v6_daddr.in6_u.u6_addr32[2];
	key->address.word[3] = sk->skc_v6_daddr.in6_u.u6_addr32[3];
}

static __always_inline int end_if_told(struct seq_file *seq, struct sock_common *sk, __u8 protocol)
{
	struct cairn_socket_key key = {.protocol = protocol};

	if (sk->skc_family != AF_INET && sk->skc_family != AF_INET6)
		return 0;
	key.cookie = bpf_get_socket_cookie(sk);
	read_peer(sk, &key);
	if (bpf_map_lookup_elem(&ending_sockets, &key) && !bpf_sock_destroy(sk))
		bpf_seq_write(seq, &key, sizeof(key));
	return 0;
}

SEC("iter/tcp")
int end_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;

	return sk ? end_if_told(ctx->meta->seq, sk, IPPROTO_TCP) : 0;
}

SEC("iter/udp")
int end_udp(struct bpf_iter__udp *ctx)
{
	struct sock_common *sk = (struct sock_common *)ctx->udp_sk;

	return sk ? end_if_told(ctx->meta->seq, sk, IPPROTO_UDP) : 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
