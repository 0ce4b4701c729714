/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Ethernet ends, and answers that are built anew: their headers and checksums. */
#pragma once

#include "observe.h"

#define REPLY_TTL 64
#define GROUP_MAC 1 /* in the first octet */
#define REFUSALS_PER_S 2000 /* on each CPU */

struct ethernet_ends {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
};

static __always_inline int turn_ethernet(struct __sk_buff *skb)
{
	struct ethernet_ends old, new;

	if (bpf_skb_load_bytes(skb, 0, &old, sizeof(old)) < 0)
		return -1;
	__builtin_memcpy(new.destination, old.source, ETH_ALEN);
	__builtin_memcpy(new.source, old.destination, ETH_ALEN);
	return bpf_skb_store_bytes(skb, 0, &new, sizeof(new), 0);
}

/* Address the frame to a node of the uplink's segment, as if this node had sent it. */
static __always_inline int address_to_node(struct __sk_buff *skb, const struct cairn_node *node)
{
	struct ethernet_ends ends;

	__builtin_memcpy(ends.destination, node->mac, ETH_ALEN);
	for (int i = 0; i < ETH_ALEN; i++)
		ends.source[i] = cairn_config.uplink_mac[i];
	return bpf_skb_store_bytes(skb, 0, &ends, sizeof(ends), 0);
}

static __always_inline __u16 fold_sum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The sum of the pseudo header (RFC 9293 s3.1, RFC 8200 s8.1), not yet complemented. Mapped
 * addresses are summed as IPv4. */
static __always_inline __u64 pseudo_sum(struct cairn_addr *source, struct cairn_addr *destination,
					__u8 protocol, __u32 octets, bool v6)
{
	__u64 sum = bpf_htonl(octets) + (__u64)bpf_htonl(protocol);

	if (!v6)
		return sum + source->word[3] + (__u64)destination->word[3];
	for (int i = 0; i < 4; i++)
		sum += source->word[i] + (__u64)destination->word[i];
	return sum;
}

/* Write the IP header of an answer of @octets after it, from the asked address to who asked. */
static __always_inline int write_answer_header(struct __sk_buff *skb, const struct packet *p,
					       __u8 protocol, __u32 octets, __u8 ttl)
{
	if (p->is_v6) {
		struct ipv6hdr ip = {
			.version = 6,
			.payload_len = bpf_htons(octets),
			.nexthdr = protocol,
			.hop_limit = ttl,
		};

		__builtin_memcpy(&ip.saddr, &p->tuple.destination, sizeof(ip.saddr));
		__builtin_memcpy(&ip.daddr, &p->tuple.source, sizeof(ip.daddr));
		return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
	}

	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(sizeof(struct iphdr) + octets),
		.frag_off = bpf_htons(0x4000), /* not to be fragmented, so the identity may be 0 */
		.ttl = ttl,
		.protocol = protocol,
		.saddr = p->tuple.destination.word[3],
		.daddr = p->tuple.source.word[3],
	};

	ip.check = ~fold_sum(bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
	return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
}

/* Whether this CPU may refuse one more packet in words (RFC 1812 s4.3.2.8, RFC 4443 s2.4 f). */
static __always_inline bool may_refuse(void)
{
	__u32 zero = 0;
	struct limit *limit = bpf_map_lookup_elem(&refusal_limit, &zero);
	__u64 now = bpf_ktime_get_coarse_ns();

	if (!limit)
		return false;
	if (now - limit->since_ns > 1000000000ULL) {
		limit->since_ns = now;
		limit->count = 0;
	}
	return limit->count++ < REFUSALS_PER_S;
}
