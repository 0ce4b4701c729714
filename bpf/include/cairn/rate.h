/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Limits of policies on new traffic.
 *
 * map              type          key                       value
 * policy_rates     HASH          cairn_rate_at             cairn_policy_rate
 * policy_buckets   LRU_HASH      cairn_rate_key            cairn_rate
 */
#pragma once

#include <cairn/types.h>

/* Where a rule limits new traffic: the address and port of a pod, or of a service that leads to one.
 * `policy_buckets` counts by source and rule (in the place of the service), so a client has
 * one budget for all the addresses that the rule is about. */
struct cairn_rate_at {
	struct cairn_addr address;
	__u32 remote; /* identity of the source; 0: all, or those that have no entry of their own */
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

enum cairn_rate_flag {
	CAIRN_RATE_TOTAL = 1, /* one budget for all sources, not one for each */
	CAIRN_RATE_BY_REMOTE = 2, /* some identities have entries of their own, which come first */
};

struct cairn_policy_rate {
	__u32 rule; /* key of `policy_rules` */
	__u32 per_second; /* new TCP connections, or UDP packets; 0: no limit */
	__u32 burst; /* how many may come at once */
	__u32 flags; /* cairn_rate_flag */
};

_Static_assert(sizeof(struct cairn_rate_at) == 24, "ABI");
_Static_assert(sizeof(struct cairn_policy_rate) == 16, "ABI");
