/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Connections through a service.
 *
 * map             type          key                       value
 * conntrack       HASH          cairn_tuple               cairn_connection
 * fragments       LRU_HASH      cairn_fragment_key        cairn_fragment
 * socket_reverse  LRU_HASH      cairn_socket_key          cairn_socket_origin
 *
 * A connection served on this node has two entries: FORWARD under (client,
 * frontend), whose address is the backend's; REVERSE under (backend, client),
 * whose address is the frontend's. A node that hands a connection over has the
 * FORWARD one only. User space deletes what is idle or closed. A full map takes no new
 * connection (CONNTRACK_FULL) and never forgets one that lives; one handed over goes on without
 * an entry, since Maglev alone finds its backend.
 */
#pragma once

#include <cairn/types.h>

enum cairn_direction {
	CAIRN_FORWARD = 0,
	CAIRN_REVERSE = 1,
};

/* The packet's own addresses and ports, as seen before translation. */
struct cairn_tuple {
	struct cairn_addr source;
	struct cairn_addr destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 direction; /* cairn_direction */
	__u8 pad[2];
};

enum cairn_state {
	CAIRN_STATE_NEW = 0, /* TCP: SYN seen */
	CAIRN_STATE_ESTABLISHED = 1, /* TCP: anything after it; UDP: always */
	CAIRN_STATE_CLOSING = 2, /* TCP: FIN or RST seen */
};

enum cairn_connection_flag {
	CAIRN_CONNECTION_ANSWERED = 1, /* REVERSE: the backend has answered */
	CAIRN_CONNECTION_RESET = 2, /* REVERSE: the backend has reset it */
};

struct cairn_connection {
	struct cairn_addr address; /* what the packet is translated to */
	__be16 port;
	__u8 state; /* cairn_state */
	__u8 flags; /* cairn_connection_flag */
	__u8 pad[4];
	__u32 backend; /* key of `backends` */
	__u32 service; /* id of the service */
	__u64 created_ns; /* CLOCK_MONOTONIC (coarse) */
	__u64 seen_ns;
	__u64 packets; /* of this direction */
	__u64 octets;
};

/* Which datagram a fragment belongs to (RFC 791 s3.2, RFC 8200 s4.5). */
struct cairn_fragment_key {
	struct cairn_addr source;
	struct cairn_addr destination;
	__be32 id;
	__u8 protocol;
	__u8 pad[3];
};

/* The ports, which only the first fragment carries; of ICMP the identifier, and type and code. */
struct cairn_fragment {
	__be16 source_port;
	__be16 destination_port;
};

/* What a socket believes it talks to, by what it really talks to. */
struct cairn_socket_key {
	__u64 cookie;
	struct cairn_addr address; /* the backend */
	__be16 port;
	__u8 protocol;
	__u8 pad[5];
};

struct cairn_socket_origin {
	struct cairn_addr address; /* the frontend */
	__be16 port;
	__u16 pad;
	__u32 service;
};

_Static_assert(sizeof(struct cairn_tuple) == 40, "ABI");
_Static_assert(sizeof(struct cairn_connection) == 64, "ABI");
_Static_assert(sizeof(struct cairn_fragment_key) == 40, "ABI");
_Static_assert(sizeof(struct cairn_fragment) == 4, "ABI");
_Static_assert(sizeof(struct cairn_socket_key) == 32, "ABI");
_Static_assert(sizeof(struct cairn_socket_origin) == 24, "ABI");
