/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Verdicts: what became of a packet, and why. The one list: the C enum, the
 * Python enum, metric labels and docs/drops.md come from it.
 *
 * Values below CAIRN_FIRST_DROP are ways a packet went on; the others are drops.
 * Values are never reused.
 */
#pragma once

#define CAIRN_FIRST_DROP 32

#define CAIRN_VERDICTS(X)                                                                          \
	X(PASS, 0, "left to the node's own network stack")                                          \
	X(TO_BACKEND, 1, "translated to a backend on this node")                                    \
	X(HANDED_OVER, 2, "sent unchanged to the backend's node")                                   \
	X(REPLY, 3, "a backend's answer, translated back to the service's address")                 \
	X(PING_ANSWERED, 4, "ICMP echo to a service address, answered by the node")                 \
	X(TO_POD, 5, "delivered to a pod of this node")                                             \
	X(TO_NODE, 6, "a pod's packet sent to another node's pod")                                  \
	X(SOCKET_TRANSLATED, 7, "a socket's destination turned from a service to a backend")        \
	X(EVENT_LOST, 8, "not a packet: an event that found the ring buffer full")                  \
	X(ARP_ANSWERED, 9, "an ARP request for a service address, answered by the node")            \
	X(ND_ANSWERED, 10, "a neighbour solicitation for a service address, answered by the node")  \
	X(TO_TUNNEL, 11, "sent to a node on another subnet, through the overlay")                    \
	X(TO_PROXY, 12, "steered to the proxy that judges it by its content")                       \
	X(AUDITED, 13, "let through, but a policy in audit mode would have decided otherwise")       \
	X(DROP_TRUNCATED_L3, 32, "the packet ends inside its IP header")                            \
	X(DROP_TRUNCATED_L4, 33, "the packet ends inside its TCP, UDP or ICMP header")              \
	X(DROP_MALFORMED_IP, 34, "the IP header is none: version, length, or IPv4 in IPv6 addresses") \
	X(DROP_NO_SERVICE, 35, "no service listens on this port of a service address")              \
	X(DROP_NO_BACKEND, 36, "the service has no ready backend")                                  \
	X(DROP_NO_LOCAL_BACKEND, 37, "the service takes only backends of this node, and has none")  \
	X(DROP_HANDED_NO_LOCAL, 38, "a node handed the packet over, but no backend is here")        \
	X(DROP_BACKEND_UNKNOWN, 39, "the service's table is missing, or names no known backend")    \
	X(DROP_BACKEND_NO_NODE, 40, "the backend is on no node that is known")                      \
	X(DROP_PROTOCOL, 41, "a service address takes only TCP, UDP and ICMP echo")                 \
	X(DROP_ICMP_TYPE, 42, "an ICMP message to a service address that fits no connection")       \
	X(DROP_FRAGMENT, 43, "a later fragment whose first fragment was not seen")                  \
	X(DROP_SOURCE_ADDRESS, 44, "a pod sent from an address not its own, or not yet its own")    \
	X(DROP_REWRITE, 45, "the kernel refused to rewrite the packet")                             \
	X(DROP_CONNTRACK_FULL, 46, "no room for a connection in the conntrack map")                 \
	X(DROP_SOURCE_RANGE, 47, "the client is not among the service's loadBalancerSourceRanges")   \
	X(DROP_NO_ADDRESS, 48, "an address of a pool that no service holds")                        \
	X(DROP_DENIED, 49, "the source is on the deny list")                                        \
	X(DROP_SOURCE_RATE, 50, "the source opens connections faster than the service allows")       \
	X(DROP_EXTENSION, 51, "an IPv6 extension header that is not known, or too many of them")    \
	X(DROP_SOURCE_MAC, 52, "a pod sent from an Ethernet address not its own")                   \
	X(DROP_TUNNEL, 53, "came through the overlay from no node that is known")                   \
	X(DROP_TUNNEL_FAILED, 54, "the kernel refused to send through the overlay")                 \
	X(DROP_TOO_BIG, 55, "too large for the way ahead: the sender is told") \
	X(DROP_SCTP_PORT, 56, "SCTP to a backend of another port: its checksum is not rewritten") \
	X(DROP_BACKEND_GONE, 57, "the connection's backend is gone: the client is told")            \
	X(DROP_TUNNEL_NO_NODE, 59, "for the overlay, but to no address of a node that is known")    \
	X(DROP_NO_HOST, 60, "the source is no host's: zero, loopback, multicast or broadcast")       \
	X(DROP_GROUP_FRAME, 61, "an Ethernet group address where one host's must be")                \
	X(DROP_VLAN, 62, "a pod sent a frame with a VLAN tag")                                      \
	X(DROP_POLICY_DENIED, 64, "a rule of a policy forbids it")                                  \
	X(DROP_POLICY_DEFAULT, 65, "a policy isolates the pod, and no rule allows it")              \
	X(DROP_POLICY_PENDING, 66, "the pod's policy is not in force yet: it is closed until then") \
	X(DROP_PROXY_GONE, 67, "a policy wants the content judged, but the proxy does not listen")  \
	X(DROP_POLICY_RATE, 68, "the source opens connections faster than a policy allows")         \
	X(DROP_KERNEL, 69, "dropped by the kernel itself, for a reason of its own")

enum cairn_verdict {
#define CAIRN_VERDICT_ENUM(name, value, text) CAIRN_##name = value,
	CAIRN_VERDICTS(CAIRN_VERDICT_ENUM)
#undef CAIRN_VERDICT_ENUM
};
