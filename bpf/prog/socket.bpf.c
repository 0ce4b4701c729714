/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Sockets of this node (cgroup hooks): a process that connects or sends to a service
 * reaches a backend directly, and goes on to see the service's address.
 *
 *   connect, sendmsg      service address -> backend
 *   recvmsg, getpeername  backend -> the service address the socket used
 *
 * A service without backends refuses the call with ECONNREFUSED. Unconnected UDP
 * keeps its backend as long as the service's backends stay. IPv4 sockets and IPv6 sockets
 * with mapped addresses meet the same entries.
 */
#include "../lib/lb.h"
#include "../lib/observe.h"

#define HERE CAIRN_POINT_SOCKET
#define ALLOW 1
#define REFUSE 0
#define ECONNREFUSED 111

struct target {
	struct cairn_addr address;
	__be16 port;
	__u8 protocol;
};

static __always_inline void read_target(const struct bpf_sock_addr *ctx, bool v6, struct target *t)
{
	t->port = (__be16)ctx->user_port;
	t->protocol = ctx->protocol;
	if (!v6) {
		address_map(&t->address, ctx->user_ip4);
		return;
	}
	t->address.word[0] = ctx->user_ip6[0];
	t->address.word[1] = ctx->user_ip6[1];
	t->address.word[2] = ctx->user_ip6[2];
	t->address.word[3] = ctx->user_ip6[3];
}

static __always_inline void write_target(struct bpf_sock_addr *ctx, bool v6,
					 const struct cairn_addr *address, __be16 port)
{
	ctx->user_port = port;
	if (!v6) {
		ctx->user_ip4 = address->word[3];
		return;
	}
	ctx->user_ip6[0] = address->word[0];
	ctx->user_ip6[1] = address->word[1];
	ctx->user_ip6[2] = address->word[2];
	ctx->user_ip6[3] = address->word[3];
}

/* A hash that spreads connections at random, keeps a client with affinity at one
 * backend, and an unconnected UDP socket too. */
static __always_inline __u32 socket_hash(struct bpf_sock_addr *ctx, __u32 flags)
{
	if (flags & CAIRN_SERVICE_AFFINITY)
		return hash_finish(hash_word(HASH_SEED, bpf_get_netns_cookie(ctx)));
	if (ctx->protocol == IPPROTO_TCP)
		return bpf_get_prandom_u32();
	return hash_finish(hash_word(HASH_SEED, bpf_get_socket_cookie(ctx)));
}

/* Choose by slot: among this node's own, among those that are near, or among all. */
static __always_inline enum cairn_verdict choose_slot(struct bpf_sock_addr *ctx,
						      const struct cairn_service *service,
						      struct choice *out)
{
	bool local = service->flags & CAIRN_SERVICE_SOCKET_LOCAL;
	__u32 slots = local ? service->local_slots : service->near_slots;

	if (!slots)
		return local ? CAIRN_DROP_NO_LOCAL_BACKEND : CAIRN_DROP_NO_BACKEND;
	return lb_choose_slot(service->id, hash_scale(socket_hash(ctx, service->flags), slots), out);
}

static __always_inline enum cairn_verdict choose_for_socket(struct bpf_sock_addr *ctx,
							    const struct cairn_service *service,
							    struct choice *out)
{
	struct cairn_affinity_key key = {.service = service->id, .is_socket = 1};
	bool here = service->flags & CAIRN_SERVICE_SOCKET_LOCAL;
	enum cairn_verdict verdict;
	__u64 cookie, now;

	if (!(service->flags & CAIRN_SERVICE_AFFINITY))
		return choose_slot(ctx, service, out);
	now = bpf_ktime_get_coarse_ns();
	cookie = bpf_get_netns_cookie(ctx);
	__builtin_memcpy(&key.client, &cookie, sizeof(cookie));
	verdict = lb_choose_kept(service, &key, now, here, out) ? CAIRN_PASS
								 : choose_slot(ctx, service, out);
	if (verdict == CAIRN_PASS)
		lb_keep(&key, out->id, now);
	return verdict;
}

/* The service at the target: at its very address, or the node port of any node's address. */
static __always_inline struct cairn_service *find_service(struct cairn_service_key *key)
{
	struct cairn_service *service = bpf_map_lookup_elem(&services, key);
	struct cairn_vip *vip;

	if (service)
		return service;
	vip = bpf_map_lookup_elem(&vips, &key->address);
	return vip && vip->flags & CAIRN_VIP_NODE ? lb_find(key, true) : NULL;
}

/* Returns whether the socket did not talk to the backend before. */
static __always_inline bool remember(struct bpf_sock_addr *ctx, const struct target *t,
				     const struct cairn_backend *backend, __u32 service)
{
	struct cairn_socket_key key = {
		.cookie = bpf_get_socket_cookie(ctx),
		.address = backend->address,
		.port = backend->port,
		.protocol = t->protocol,
	};
	struct cairn_socket_origin origin = {
		.address = t->address,
		.port = t->port,
		.service = service,
	};

	bool first = events_on() && !bpf_map_lookup_elem(&socket_reverse, &key);

	bpf_map_update_elem(&socket_reverse, &key, &origin, BPF_ANY);
	return first;
}

/* The process's own address is not chosen yet. */
static __always_inline void tell(const struct target *t, const struct cairn_backend *backend)
{
	struct packet p = {};

	p.tuple.destination = t->address;
	p.tuple.destination_port = t->port;
	p.tuple.protocol = t->protocol;
	observe_choice(&p, HERE << 8 | CAIRN_SOCKET_TRANSLATED, backend, 0, 0);
}

static __always_inline int refuse(struct bpf_sock_addr *ctx, const struct target *t,
				  enum cairn_verdict reason)
{
	struct packet p = {};

	p.tuple.destination = t->address;
	p.tuple.destination_port = t->port;
	p.tuple.protocol = t->protocol;
	count(HERE, reason, 0);
	observe_packet(&p, HERE << 8 | reason, 0, 0, 0);
	bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

static __always_inline int translate(struct bpf_sock_addr *ctx, bool v6)
{
	struct target t = {};

	read_target(ctx, v6, &t);

	struct cairn_service_key key = {
		.address = t.address,
		.port = t.port,
		.protocol = t.protocol,
	};
	struct cairn_service *service = find_service(&key);
	struct choice choice = {};

	if (!service)
		return ALLOW;

	enum cairn_verdict verdict = choose_for_socket(ctx, service, &choice);

	if (verdict != CAIRN_PASS)
		return refuse(ctx, &t, verdict);
	if (!choice.backend)
		return refuse(ctx, &t, CAIRN_DROP_BACKEND_UNKNOWN);
	/* An IPv4 socket cannot reach an IPv6 backend: leave that to the caller's error. */
	if (!v6 && !address_is_mapped(&choice.backend->address))
		return refuse(ctx, &t, CAIRN_DROP_NO_BACKEND);
	if (remember(ctx, &t, choice.backend, service->id) && events_on())
		tell(&t, choice.backend);
	write_target(ctx, v6, &choice.backend->address, choice.backend->port);
	count(HERE, CAIRN_SOCKET_TRANSLATED, 0);
	return ALLOW;
}

static __always_inline int translate_back(struct bpf_sock_addr *ctx, bool v6)
{
	struct target t = {};

	read_target(ctx, v6, &t);

	struct cairn_socket_key key = {
		.cookie = bpf_get_socket_cookie(ctx),
		.address = t.address,
		.port = t.port,
		.protocol = t.protocol,
	};
	struct cairn_socket_origin *origin = bpf_map_lookup_elem(&socket_reverse, &key);

	if (origin && (v6 || address_is_mapped(&origin->address)))
		write_target(ctx, v6, &origin->address, origin->port);
	return ALLOW;
}

SEC("cgroup/connect4")
int socket_connect4(struct bpf_sock_addr *ctx)
{
	return translate(ctx, false);
}

SEC("cgroup/connect6")
int socket_connect6(struct bpf_sock_addr *ctx)
{
	return translate(ctx, true);
}

SEC("cgroup/sendmsg4")
int socket_sendmsg4(struct bpf_sock_addr *ctx)
{
	return translate(ctx, false);
}

SEC("cgroup/sendmsg6")
int socket_sendmsg6(struct bpf_sock_addr *ctx)
{
	return translate(ctx, true);
}

SEC("cgroup/recvmsg4")
int socket_recvmsg4(struct bpf_sock_addr *ctx)
{
	return translate_back(ctx, false);
}

SEC("cgroup/recvmsg6")
int socket_recvmsg6(struct bpf_sock_addr *ctx)
{
	return translate_back(ctx, true);
}

SEC("cgroup/getpeername4")
int socket_getpeername4(struct bpf_sock_addr *ctx)
{
	return translate_back(ctx, false);
}

SEC("cgroup/getpeername6")
int socket_getpeername6(struct bpf_sock_addr *ctx)
{
	return translate_back(ctx, true);
}

char _license[] SEC("license") = "Dual BSD/GPL";
