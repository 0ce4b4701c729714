"""Why a flow was dropped: the data plane's verdicts as Hubble numbers and names them.

    FLOW["reason"]  ->  number of Hubble's enum DropReason, and words

Invariants  Every verdict that drops has a row (a test compares with abi.verdicts); verdicts are
            never used for anything else, so rows stay.
Standards   Cilium api/v1/flow/flow.proto, enum DropReason: the nearest one; what it has no word
            for is DROP_REASON_UNKNOWN, and the text says it
"""

import numpy as np

FIRST_DROP = 32

HUBBLE_NAMES: dict[int, str] = {
    0: "DROP_REASON_UNKNOWN",
    130: "INVALID_SOURCE_MAC",
    131: "INVALID_DESTINATION_MAC",
    132: "INVALID_SOURCE_IP",
    133: "POLICY_DENIED",
    134: "INVALID_PACKET_DROPPED",
    135: "CT_TRUNCATED_OR_INVALID_HEADER",
    139: "UNSUPPORTED_L3_PROTOCOL",
    141: "ERROR_WRITING_TO_PACKET",
    142: "UNKNOWN_L4_PROTOCOL",
    143: "UNKNOWN_ICMPV4_CODE",
    150: "UNKNOWN_L3_TARGET_ADDRESS",
    151: "STALE_OR_UNROUTABLE_IP",
    155: "CT_MAP_INSERTION_FAILED",
    156: "INVALID_IPV6_EXTENSION_HEADER",
    158: "SERVICE_BACKEND_NOT_FOUND",
    160: "NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT",
    162: "REACHED_EDT_RATE_LIMITING_DROP_HORIZON",
    165: "NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION",
    170: "ENCAPSULATION_TRAFFIC_IS_PROHIBITED",
    172: "UNKNOWN_SENDER",
    175: "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND",
    177: "DENIED_BY_LB_SRC_RANGE_CHECK",
    179: "SOCKET_ASSIGN_FAILED",
    181: "POLICY_DENY",
    182: "VLAN_FILTERED",
}
"""Those that Cairn's drops map to."""

ROWS: tuple[tuple[int, int, str], ...] = (
    (32, 135, "the packet ends inside its IP header"),
    (33, 135, "the packet ends inside its TCP, UDP or ICMP header"),
    (34, 134, "the IP header is none: version, length, or IPv4 in IPv6 addresses"),
    (35, 158, "no service listens on this port of a service address"),
    (36, 158, "the service has no ready backend"),
    (37, 158, "the service takes only backends of this node, and has none"),
    (38, 158, "a node handed the packet over, but no backend is here"),
    (39, 158, "the service's table is missing, or names no known backend"),
    (40, 158, "the backend is on no node that is known"),
    (41, 142, "a service address takes only TCP, UDP and ICMP echo"),
    (42, 143, "an ICMP message to a service address that fits no connection"),
    (43, 175, "a later fragment whose first fragment was not seen"),
    (44, 132, "a pod sent from an address not its own, or not yet its own"),
    (45, 141, "the kernel refused to rewrite the packet"),
    (46, 155, "no room for a connection in the conntrack map"),
    (47, 177, "the client is not among the service's loadBalancerSourceRanges"),
    (48, 150, "an address of a pool that no service holds"),
    (49, 181, "the source is on the deny list"),
    (50, 162, "the source opens connections faster than the service allows"),
    (51, 156, "an IPv6 extension header that is not known, or too many of them"),
    (52, 130, "a pod sent from an Ethernet address not its own"),
    (53, 172, "came through the overlay from no node that is known"),
    (54, 160, "the kernel refused to send through the overlay"),
    (55, 0, "too large for the way ahead: the sender is told"),
    (56, 142, "SCTP to a backend of another port: its checksum is not rewritten"),
    (57, 158, "the connection's backend is gone: the client is told"),
    (59, 160, "for the overlay, but to no address of a node that is known"),
    (60, 132, "the source is no host's: zero, loopback, multicast or broadcast"),
    (61, 131, "an Ethernet group address where one host's must be"),
    (62, 182, "a pod sent a frame with a VLAN tag"),
    (64, 181, "a rule of a policy forbids it"),
    (65, 133, "a policy isolates the pod, and no rule allows it"),
    (66, 165, "the pod's policy is not in force yet: it is closed until then"),
    (67, 179, "a policy wants the content judged, but the proxy does not listen"),
    (68, 162, "the source opens connections faster than a policy allows"),
    (69, 0, "dropped by the kernel itself, for a reason of its own"),
)
"""Verdict, Hubble's number, what happened in words."""

TEXTS: dict[int, str] = {verdict: text for verdict, _, text in ROWS}
HUBBLE = np.zeros(256, np.uint16)
"""Hubble's number, by verdict."""
HUBBLE[[row[0] for row in ROWS]] = [row[1] for row in ROWS]
