/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the XDP program has looked up in this moment and revision of the maps: what is a service's address,
 * who is no peer, which service listens, how a backend is reached. A look at a hash map costs a
 * call, and a new flow would cost seven of them. Each CPU has its own; what is not there is
 * looked up again.
 */
#pragma once

#include "source.h"
#include "xdp_packet.h"

#define FACT_VIPS 256
#define FACT_SENDERS 64
#define FACT_SERVICES 1024
#define FACT_HOPS 1024

/* Besides the flags of a cairn_vip. */
#define FACT_IS_VIP 0x80000000

struct fact_vip {
	struct cairn_addr address;
	__u32 moment; /* as flow_moment() says */
	__u32 flags; /* 0: no service's address */
};

struct fact_sender {
	__u64 sender; /* as in xdp_frame */
	__u32 moment;
	__u32 is_peer;
};

struct fact_service {
	struct cairn_service_key key;
	__u32 moment;
	__u32 id;
	__u32 flags; /* cairn_service_flag */
	__u32 slots;
	__u32 source_rate;
};

enum hop_kind {
	HOP_NONE = 0, /* not to be reached by a frame sent out again: here, in a tunnel, unknown */
	HOP_NODE = 1, /* a node in this subnet */
};

struct fact_hop {
	__u32 backend;
	__u32 moment;
	__u32 mac; /* of the backend's node */
	__u16 mac_end;
	__u16 kind; /* hop_kind */
};

CAIRN_MAP(fact_vips, BPF_MAP_TYPE_PERCPU_ARRAY, FACT_VIPS, __u32, struct fact_vip, 0);
CAIRN_MAP(fact_senders, BPF_MAP_TYPE_PERCPU_ARRAY, FACT_SENDERS, __u32, struct fact_sender, 0);
CAIRN_MAP(fact_services, BPF_MAP_TYPE_PERCPU_ARRAY, FACT_SERVICES, __u32, struct fact_service, 0);
CAIRN_MAP(fact_hops, BPF_MAP_TYPE_PERCPU_ARRAY, FACT_HOPS, __u32, struct fact_hop, 0);

/* The flags of the service address @address with FACT_IS_VIP; 0 if it is none. */
static __always_inline __u32 fact_vip_flags(const struct cairn_addr *address, __u32 moment)
{
	__u64 word = (__u64)address->word[3] << 24 ^ address->word[1];
	__u32 index = word * HASH_PRIME >> 32 & (FACT_VIPS - 1);
	struct fact_vip *fact = bpf_map_lookup_elem(&fact_vips, &index);
	struct cairn_vip *vip;
	__u32 flags;

	if (fact && fact->moment == moment && address_equal(&fact->address, address))
		return fact->flags;
	vip = bpf_map_lookup_elem(&vips, address);
	flags = vip ? vip->flags | FACT_IS_VIP : 0;
	if (fact) {
		fact->address = *address;
		fact->moment = moment;
		fact->flags = flags;
	}
	return flags;
}

static __always_inline bool fact_is_peer(const struct xdp_frame *f, __u32 moment)
{
	__u32 index = f->sender * HASH_PRIME >> 32 & (FACT_SENDERS - 1);
	struct fact_sender *fact = bpf_map_lookup_elem(&fact_senders, &index);
	struct cairn_mac source = {};
	bool is_peer;

	if (fact && fact->sender == f->sender && fact->moment == moment)
		return fact->is_peer;
	*(__u64 *)&source = f->sender >> 16;
	is_peer = bpf_map_lookup_elem(&peers, &source);
	if (fact) {
		fact->sender = f->sender;
		fact->moment = moment;
		fact->is_peer = is_peer;
	}
	return is_peer;
}

static __always_inline bool fact_is_of(const struct fact_service *fact,
				       const struct cairn_service_key *key)
{
	const __u32 *port = (const __u32 *)&key->port, *other = (const __u32 *)&fact->key.port;

	return *port == *other && address_equal(&fact->key.address, &key->address);
}

/* Find the service that the frame is for; false if none listens. */
static __always_inline bool fact_find_service(const struct xdp_frame *f, __u32 vip_flags,
					      __u32 moment, struct cairn_service *out)
{
	struct cairn_service_key key = {
		.address = f->packet.tuple.destination,
		.port = f->packet.tuple.destination_port,
		.protocol = f->packet.tuple.protocol,
	};
	__u64 word = (__u64)key.address.word[3] << 24 ^ key.address.word[1] ^
		     (__u32)key.port << 8 ^ key.protocol;
	__u32 index = word * HASH_PRIME >> 32 & (FACT_SERVICES - 1);
	struct fact_service *fact = bpf_map_lookup_elem(&fact_services, &index);
	struct cairn_service *service;

	if (!fact)
		return false;
	if (fact->moment != moment || !fact_is_of(fact, &key)) {
		struct cairn_service_key asked = key;

		service = lb_find(&asked, vip_flags & CAIRN_VIP_NODE);
		fact->key = key;
		fact->id = service ? service->id : 0;
		fact->flags = service ? service->flags : 0;
		fact->slots = service ? service->slots : 0;
		fact->source_rate = service ? service->source_rate : 0;
		fact->moment = moment;
	}
	out->id = fact->id;
	out->flags = fact->flags;
	out->slots = fact->slots;
	out->source_rate = fact->source_rate;
	return out->id;
}

/* How @backend is reached. */
static __always_inline void fact_look_up_hop(const struct cairn_backend *backend,
					     struct fact_hop *out)
{
	__u32 index = backend->node;
	struct cairn_node *node;

	out->kind = HOP_NONE;
	if (backend->flags & CAIRN_BACKEND_LOCAL)
		return;
	node = bpf_map_lookup_elem(&nodes, &index);
	if (!node || node->flags & CAIRN_NODE_TUNNEL)
		return;
	out->mac = take32(node->mac);
	out->mac_end = take16(node->mac + 4);
	out->kind = HOP_NODE;
}

/* How the backend with this id is reached. */
static __always_inline void fact_find_hop(__u32 id, __u32 moment, struct fact_hop *out)
{
	__u32 index = id & (FACT_HOPS - 1);
	struct fact_hop *fact = bpf_map_lookup_elem(&fact_hops, &index);
	struct cairn_backend *backend;

	if (fact && fact->backend == id && fact->moment == moment) {
		*out = *fact;
		return;
	}
	backend = bpf_map_lookup_elem(&backends, &id);
	if (backend)
		fact_look_up_hop(backend, out);
	out->backend = id;
	out->moment = moment;
	if (fact)
		*fact = *out;
}
