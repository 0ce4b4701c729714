/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Policy: who may reach whom, and which connections were let through.
 *
 * map              type          key                       value
 * identities       LPM_TRIE      cairn_prefix              __u32 identity
 * policy_names     HASH          cairn_name_key            cairn_name_page
 * policy_peers     HASH          cairn_policy_key          cairn_policy_peer
 * policy_ports     HASH          cairn_port_key            cairn_policy_verdict
 * policy_rules     HASH          __u32 rule                cairn_rule_counters
 * policy_state     ARRAY of one  __u32 0                   cairn_policy_state
 *
 * An identity stands for a set of labels (or a network, or a selector of DNS names) and is local
 * to the node; 0 is none. Those below 256 are reserved and have Hubble's numbers. `identities`
 * has an entry for 0.0.0.0/0 and for ::/0, so every address has an identity. This node's own pods
 * are in it, and carry theirs in `endpoints` as well.
 *
 * A verdict for (subject, direction, remote, protocol, port) is found in at most two steps, taken when a
 * connection begins or when the revision has changed since it was judged:
 *
 *   1. policy_peers at (subject, remote, direction), else at (subject, 0, direction). None: the
 *      subject is not isolated in that direction.
 *   2. unless the peer's `lengths` is 0: policy_ports at (table, protocol, bits, port cut to so many
 *      bits), for each length that is used, the longest first. The first found decides, else the
 *      peer's own verdict.
 *
 * On egress, where this says DEFAULT_DENY and the destination has pages in `policy_names`, the ladder
 * is walked again with each selector named there as the remote; the first that does not say
 * DEFAULT_DENY decides. Selectors have entries of their own in `policy_peers`.
 *
 * A table never changes while an entry of `policy_peers` names it: user space writes a new one under
 * a new number, then the peers, then raises the revision, then deletes what is unused. A connection's
 * next packet after that is judged anew.
 *
 * Connections that were judged are in flow.h.
 *
 * Port keys of ICMP: the type in the high octet, the code in the low one. Protocols without ports
 * have port 0.
 */
#pragma once

#include <cairn/types.h>

enum cairn_policy_direction {
	CAIRN_POLICY_EGRESS = 0, /* judged for who sends */
	CAIRN_POLICY_INGRESS = 1, /* judged for who is reached */
};

enum cairn_policy_action {
	CAIRN_POLICY_ALLOW = 0,
	CAIRN_POLICY_DENY = 1, /* `rule` forbids it */
	CAIRN_POLICY_DEFAULT_DENY = 2, /* nothing allows it; `rule` is the policy that isolates */
	CAIRN_POLICY_PROXY = 3, /* allowed through the proxy that listens at `proxy` */
};

enum cairn_identity {
	CAIRN_IDENTITY_NONE = 0,
	CAIRN_IDENTITY_HOST = 1,
	CAIRN_IDENTITY_WORLD = 2,
	CAIRN_IDENTITY_UNMANAGED = 3,
	CAIRN_IDENTITY_HEALTH = 4,
	CAIRN_IDENTITY_INIT = 5,
	CAIRN_IDENTITY_REMOTE_NODE = 6,
	CAIRN_IDENTITY_KUBE_APISERVER = 7,
	CAIRN_IDENTITY_INGRESS = 8,
	CAIRN_IDENTITY_WORLD_IPV4 = 9,
	CAIRN_IDENTITY_WORLD_IPV6 = 10,
};

struct cairn_policy_key {
	__u32 subject; /* identity of the pod, or HOST, whose policy it is */
	__u32 remote; /* identity of the other end; 0: any other */
	__u8 direction; /* cairn_policy_direction */
	__u8 pad[3];
};

struct cairn_policy_verdict {
	__u32 rule; /* key of `policy_rules`; 0: no rule, not isolated */
	__u32 audit_rule; /* what policies in audit mode would have decided; 0: the same */
	__be16 proxy; /* port of the proxy's listener on loopback, with PROXY */
	__u8 action; /* cairn_policy_action */
	__u8 audit_action; /* cairn_policy_action; meaningful with `audit_rule` */
};

struct cairn_policy_peer {
	__u32 table; /* in `policy_ports` */
	__u32 lengths; /* bit n: the table has ports cut to n bits, 0..16 */
	/* For what the table does not name, as in cairn_policy_verdict. */
	__u32 rule;
	__u32 audit_rule;
	__be16 proxy;
	__u8 action;
	__u8 audit_action;
};

struct cairn_port_key {
	__u32 table;
	__be16 port; /* cut to `bits`, the rest 0 */
	__u8 protocol;
	__u8 bits; /* 0..16 */
};

#define CAIRN_NAME_SELECTORS 8
#define CAIRN_NAME_PAGES 4

struct cairn_name_key {
	struct cairn_addr address;
	__u32 page; /* 0..CAIRN_NAME_PAGES-1, without gaps */
};

/* Selectors of DNS names that an address was learnt for. */
struct cairn_name_page {
	__u32 selectors[CAIRN_NAME_SELECTORS]; /* identities; 0 ends the list */
};

struct cairn_rule_counters {
	__u64 allowed; /* connections */
	__u64 denied; /* packets */
	__u64 audited; /* connections that it would have decided otherwise */
};

enum cairn_policy_flag {
	CAIRN_POLICY_HOST_INGRESS = 1, /* the node itself is isolated in this direction */
	CAIRN_POLICY_HOST_EGRESS = 2,
	CAIRN_POLICY_PROXY_RUNS = 4, /* some verdict says PROXY: replies may belong to the proxy */
};

struct cairn_policy_state {
	__u32 revision; /* never 0; another after each change of the maps above */
	__u32 flags; /* cairn_policy_flag */
};

/* Marks by which packets tell where they belong; a pod cannot set them, since they end at the
 * border of a network namespace. TO_PROXY: delivered to the node itself, whatever the
 * destination. EGRESS_PROXY: the proxy sends for a pod of this node that was judged on egress.
 * INGRESS_PROXY: the proxy sends to a pod of this node, judged on ingress. PROOF: user space tries
 * the programs themselves, and asks for no policy. */
#define CAIRN_MARK_MASK 0xf00
#define CAIRN_MARK_TO_PROXY 0x200
#define CAIRN_MARK_EGRESS_PROXY 0x300
#define CAIRN_MARK_INGRESS_PROXY 0x400
#define CAIRN_MARK_PROOF 0x500

_Static_assert(sizeof(struct cairn_policy_key) == 12, "ABI");
_Static_assert(sizeof(struct cairn_policy_verdict) == 12, "ABI");
_Static_assert(sizeof(struct cairn_policy_peer) == 20, "ABI");
_Static_assert(sizeof(struct cairn_port_key) == 8, "ABI");
_Static_assert(sizeof(struct cairn_name_key) == 20, "ABI");
_Static_assert(sizeof(struct cairn_name_page) == 32, "ABI");
_Static_assert(sizeof(struct cairn_rule_counters) == 24, "ABI");
_Static_assert(sizeof(struct cairn_policy_state) == 8, "ABI");
