/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Choose a backend: Maglev's, or among this node's own. */
#pragma once

#include <stdbool.h>

#include "address.h"
#include "hash.h"
#include "maps.h"

#define NS_PER_S 1000000000ULL

struct choice {
	__u32 id;
	struct cairn_backend *backend;
};

static __always_inline enum cairn_verdict choose(__u32 id, struct choice *out)
{
	struct cairn_backend *backend = bpf_map_lookup_elem(&backends, &id);

	if (!backend)
		return CAIRN_DROP_BACKEND_UNKNOWN;
	out->id = id;
	out->backend = backend;
	return CAIRN_PASS;
}

static __always_inline enum cairn_verdict lb_choose_slot(__u32 service, __u32 slot,
							 struct choice *out)
{
	struct cairn_slot_key key = {.service = service, .slot = slot};
	__u32 *id = bpf_map_lookup_elem(&service_slots, &key);

	return id ? choose(*id, out) : CAIRN_DROP_BACKEND_UNKNOWN;
}

/* The entry for @hash of a table of @size slots that @tables, a map of maps, holds for a service. */
#define LB_ENTRY_OF(tables, table_type, size, service_id, hash)                                    \
	({                                                                                         \
		void *table_ = bpf_map_lookup_elem(&tables, &(service_id));                        \
		__u32 zero_ = 0, entry_ = 0, index_ = hash_scale(hash, size);                      \
		table_type *entries_ = table_ ? bpf_map_lookup_elem(table_, &zero_) : NULL;        \
		/* clang 19 knows that the index fits, drops the check and merges the shifts; the  \
		 * verifier (6.18) then sees an offset beyond the table and refuses. */            \
		barrier_var(index_);                                                               \
		if (entries_ && index_ < (size))                                                   \
			entry_ = entries_->backend[index_];                                        \
		entry_;                                                                            \
	})

/* The id of the backend that Maglev chooses; 0, which is nobody's, without a table. */
static __always_inline __u32 lb_maglev_entry(const struct cairn_service *service, __u32 hash)
{
	__u32 id = service->id;

	if (service->flags & CAIRN_SERVICE_SMALL_TABLE)
		return LB_ENTRY_OF(maglev_small, struct cairn_maglev_small,
				   CAIRN_MAGLEV_SMALL_SIZE, id, hash);
	return LB_ENTRY_OF(maglev, struct cairn_maglev, CAIRN_MAGLEV_SIZE, id, hash);
}

static __always_inline enum cairn_verdict lb_choose_maglev(const struct cairn_service *service,
							   __u32 hash, struct choice *out)
{
	return choose(lb_maglev_entry(service, hash), out);
}

static __always_inline enum cairn_verdict lb_choose_draining(__u32 service, struct choice *out)
{
	__u32 *id = bpf_map_lookup_elem(&draining, &service);

	return id ? choose(*id, out) : CAIRN_DROP_HANDED_NO_LOCAL;
}

/* Choose the backend that @client kept, if its time has not run out and it may serve.
 *
 * @here  only a backend of this node will do
 */
static __always_inline bool lb_choose_kept(const struct cairn_service *service,
					   const struct cairn_affinity_key *key, __u64 now,
					   bool here, struct choice *out)
{
	struct cairn_affinity *kept = bpf_map_lookup_elem(&affinity, key);

	if (!kept || now - kept->seen_ns > service->affinity_s * NS_PER_S ||
	    choose(kept->backend, out) != CAIRN_PASS)
		return false;
	if (out->backend->flags & CAIRN_BACKEND_TERMINATING)
		return false;
	return !here || out->backend->flags & CAIRN_BACKEND_LOCAL;
}

/* Note whom a client got; one that cannot be noted is found by its hash again. */
static __always_inline void lb_keep(const struct cairn_affinity_key *key, __u32 backend, __u64 now)
{
	struct cairn_affinity kept = {.backend = backend, .seen_ns = now};

	bpf_map_update_elem(&affinity, key, &kept, BPF_ANY);
}

static __always_inline bool lb_source_allowed(const struct cairn_service *service,
					      const struct cairn_addr *source)
{
	struct cairn_source_range range = {
		.bits = 32 + 128,
		.service = bpf_htonl(service->id),
		.address = *source,
	};

	return !(service->flags & CAIRN_SERVICE_SOURCE_RANGES) ||
	       bpf_map_lookup_elem(&source_ranges, &range);
}

/* The service that listens at @key, or at the node port if @any_node says that the address
 * is a node's. */
static __always_inline struct cairn_service *lb_find(struct cairn_service_key *key, bool any_node)
{
	struct cairn_service *service = bpf_map_lookup_elem(&services, key);

	if (service || !any_node)
		return service;
	address_clear(&key->address);
	return bpf_map_lookup_elem(&services, key);
}

/* Choose a backend for a packet from outside.
 *
 * @handed  a peer handed the packet over, so it must be served here
 *
 * Maglev's choice comes first even where only this node's backends will do: the
 * nodes then agree, and a connection whose entry was evicted finds its backend.
 */
static __always_inline enum cairn_verdict
lb_choose(const struct cairn_service *service, __u32 hash, bool handed, struct choice *out)
{
	if (!service->slots)
		return handed && lb_choose_draining(service->id, out) == CAIRN_PASS
			       ? CAIRN_PASS
			       : CAIRN_DROP_NO_BACKEND;

	enum cairn_verdict verdict = lb_choose_maglev(service, hash, out);

	if (verdict != CAIRN_PASS)
		return verdict;
	if (!handed && !(service->flags & CAIRN_SERVICE_LOCAL))
		return CAIRN_PASS;
	if (out->backend->flags & CAIRN_BACKEND_LOCAL)
		return CAIRN_PASS;
	if (!service->local_slots)
		return handed ? lb_choose_draining(service->id, out) : CAIRN_DROP_NO_LOCAL_BACKEND;
	return lb_choose_slot(service->id, hash_scale(hash, service->local_slots), out);
}
