/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Whom a packet comes from, and whether it may: the deny list, and the rate of new connections. */
#pragma once

#include "track.h"

#define RATE_TRIES 4

/* What is in force now; read it before the maps that it speaks of. */
static __always_inline struct cairn_revision revision_now(void)
{
	__u32 zero = 0;
	struct cairn_revision *now = bpf_map_lookup_elem(&revision, &zero);

	return now ? *now : (struct cairn_revision){};
}

static __always_inline bool source_is_denied(const struct cairn_revision *now,
					     const struct cairn_addr *source)
{
	struct cairn_prefix who = {.bits = 128, .address = *source};

	return now->flags & CAIRN_REVISION_DENIED && bpf_map_lookup_elem(&denied, &who);
}

/* Whether the packet counts against the rate of its source: it opens a TCP connection, or is
 * a datagram, of which nobody knows whether it opens one. */
static __always_inline bool source_opens(const struct packet *p)
{
	return track_is_new(p) || p->tuple.protocol == IPPROTO_UDP;
}

/* Take one of what a source may open: evenly @rate_ns apart, up to @burst_ns worth of them at once
 * (the virtual scheduling of ITU-T I.371). Who loses the race for it again and again is one
 * of many at once, and too fast. */
static __always_inline bool source_take(struct cairn_rate *rate, __u64 rate_ns, __u64 burst_ns,
					__u64 now)
{
	for (int i = 0; i < RATE_TRIES; i++) {
		__u64 due = *(volatile __u64 *)&rate->due_ns;
		__u64 start = due > now ? due : now;

		if (start - now > burst_ns - rate_ns)
			return false;
		if (__sync_val_compare_and_swap(&rate->due_ns, due, start + rate_ns) == due)
			return true;
	}
	return false;
}

/* Take one from the bucket at @key, which is made full if it is not there. */
static __always_inline bool source_take_from(void *buckets, const struct cairn_rate_key *key,
					     __u64 rate_ns, __u64 burst_ns, __u64 now)
{
	struct cairn_rate *rate = bpf_map_lookup_elem(buckets, key);

	if (!rate) {
		struct cairn_rate first = {.due_ns = now + rate_ns};

		/* BPF_NOEXIST: the first of several at once makes the entry. */
		if (bpf_map_update_elem(buckets, key, &first, BPF_NOEXIST) == 0)
			return true;
		rate = bpf_map_lookup_elem(buckets, key);
	}
	return !rate || source_take(rate, rate_ns, burst_ns, now);
}

/* Whom a bucket is for: an IPv4 address, or the /64 of an IPv6 one. */
static __always_inline void source_fill_key(struct cairn_rate_key *key, const struct packet *p)
{
	key->source = p->tuple.source;
	if (p->is_v6) {
		key->source.word[2] = 0;
		key->source.word[3] = 0;
	}
}

/* Whether XDP has counted the packet for its source's rate: all that is plain, as xdp_packet.h
 * says, where XDP enforces rates. */
static __always_inline bool source_was_judged(const struct __sk_buff *skb, const struct packet *p)
{
	__u32 plain = ETH_HLEN + (p->is_v6 ? IP6_HEADER : sizeof(struct iphdr));

	return revision_now().flags & CAIRN_REVISION_RATES_BEFORE && p->l4_at == plain &&
	       !p->is_fragment && !skb->vlan_present;
}

/* Whether the packet's source may send it to @service: it opens nothing, or is not too fast. */
static __always_inline bool source_is_slow(const struct cairn_service *service,
					   const struct packet *p)
{
	struct cairn_rate_key key = {.service = service->id};
	__u64 now, rate_ns;

	if (!service->source_rate || !source_opens(p))
		return true;
	source_fill_key(&key, p);
	now = bpf_ktime_get_coarse_ns();
	rate_ns = NS_PER_S / service->source_rate;

	return source_take_from(&source_rates, &key, rate_ns, NS_PER_S, now);
}
