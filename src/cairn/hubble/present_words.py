"""What a flow is called: its type, its verdict, its summary, who decided; as upstream's CLI says.

flow.Flow  ->  words

Standards   Cilium hubble/pkg/printer: the words of its compact form
"""

from collections.abc import Sequence
from typing import Any

from cairn.hubble.client_values import TCP_FLAGS, TRACES
from cairn.hubble.proto import enum

DROP, TRACE, POLICY_VERDICT, TRACE_SOCK = 1, 4, 5, 7
FORWARDED, DROPPED, ERROR, AUDIT = 1, 2, 3, 4
REQUEST = 1
_MATCHES = {0: "none", 1: "L3-Only", 2: "L3-L4", 3: "L4-Only", 4: "all", 5: "L3-Proto",
            6: "Proto-Only"}  # fmt: skip
_JUDGED = {FORWARDED: "ALLOWED", DROPPED: "DENIED", ERROR: "DENIED", AUDIT: "AUDITED"}
_SOCKET = ("unknown", "pre-xlate-fwd", "post-xlate-fwd", "pre-xlate-rev", "post-xlate-rev")
_ICMP = {(4, 0): "EchoReply", (4, 3): "DestinationUnreachable", (4, 5): "Redirect",
         (4, 8): "EchoRequest", (4, 11): "TimeExceeded", (4, 12): "ParameterProblem",
         (6, 1): "DestinationUnreachable", (6, 2): "PacketTooBig", (6, 3): "TimeExceeded",
         (6, 4): "ParameterProblem", (6, 128): "EchoRequest", (6, 129): "EchoReply",
         (6, 133): "RouterSolicitation", (6, 134): "RouterAdvertisement",
         (6, 135): "NeighborSolicitation", (6, 136): "NeighborAdvertisement"}  # fmt: skip
_RCODES = ("NoError", "FormErr", "ServFail", "NXDomain", "NotImp", "Refused")


def enum_name(name: str, number: int) -> str:
    """Return an enum's word; a number that it does not have, as text."""
    value = enum(name).values_by_number.get(number)
    return str(value.name) if value else str(number)


def flow_type(flow: Any) -> str:
    """Return what was seen: `to-endpoint`, `Policy denied`, `http-request`, …"""
    if flow.HasField("l7"):
        record = flow.l7.WhichOneof("record") or "l7"
        return f"{record}-{enum_name('flow.L7FlowType', flow.l7.type).lower()}"
    type_, sub = flow.event_type.type, flow.event_type.sub_type
    if type_ == DROP:
        return drop_reason(flow)
    if type_ == TRACE:
        return TRACES[sub] if 0 <= sub < len(TRACES) else str(sub)
    if type_ == POLICY_VERDICT:
        way = enum_name("flow.TrafficDirection", flow.traffic_direction)
        matched = _MATCHES.get(flow.policy_match_type, str(flow.policy_match_type))
        return f"policy-verdict:{matched} {way}"
    if type_ == TRACE_SOCK:
        point = flow.sock_xlate_point
        return _SOCKET[point] if point < len(_SOCKET) else str(point)
    return "UNKNOWN"


def drop_reason(flow: Any) -> str:
    """Return why a flow was dropped: `Policy denied`."""
    number = flow.drop_reason_desc or flow.event_type.sub_type or flow.drop_reason
    name = enum_name("flow.DropReason", number)
    spelt = name.removeprefix("DROP_").replace("_", " ").capitalize()
    return f"Reason {spelt}" if spelt.isdecimal() else spelt


def verdict(flow: Any) -> str:
    """Return what became of it; of policies' verdicts ALLOWED, DENIED, AUDITED."""
    if flow.event_type.type == POLICY_VERDICT and flow.verdict in _JUDGED:
        return _JUDGED[flow.verdict]
    return enum_name("flow.Verdict", flow.verdict)


def plain_verdict(flow: Any) -> str:
    """Return ALLOWED for FORWARDED and DENIED for DROPPED, the others as they are."""
    name = enum_name("flow.Verdict", flow.verdict)
    return {"FORWARDED": "ALLOWED", "DROPPED": "DENIED"}.get(name, name)


def layer(flow: Any) -> str:
    """Return L4, L7 or SOCK."""
    name = "L7" if flow.HasField("l7") else enum_name("flow.FlowType", flow.Type)
    return {"L3_L4": "L4", "UNKNOWN_TYPE": "L4"}.get(name, name)


def deciders(flow: Any) -> str:
    """Return the policies that decided against a flow; empty: none is named."""
    return _names([*flow.egress_denied_by, *flow.ingress_denied_by])


def allowers(flow: Any) -> str:
    """Return the policies that let a flow through; empty: none is named."""
    return _names([*flow.egress_allowed_by, *flow.ingress_allowed_by])


def _names(policies: Sequence[Any]) -> str:
    return ", ".join(
        dict.fromkeys(
            f"{one.kind or 'policy'} {one.namespace}{'/' if one.namespace else ''}{one.name}"
            for one in policies
            if one.name
        )
    )


def summary(flow: Any) -> str:
    """Return what it was, in a few words."""
    match flow.l7.WhichOneof("record") if flow.HasField("l7") else None:
        case "http":
            return _http(flow.l7)
        case "dns":
            return _dns(flow.l7)
    match flow.l4.WhichOneof("protocol"):
        case "TCP":
            names = ", ".join(name for name in TCP_FLAGS if getattr(flow.l4.TCP.flags, name))
            return f"TCP Flags: {names}" if names else _plain(flow, "TCP")
        case "ICMPv4":
            return _icmp(4, flow.l4.ICMPv4)
        case "ICMPv6":
            return _icmp(6, flow.l4.ICMPv6)
        case str(name):
            return _plain(flow, name)
    return _plain(flow, "")


def _plain(flow: Any, protocol: str) -> str:
    return str(flow.Summary) or protocol or "packet"


def _icmp(version: int, icmp: Any) -> str:
    name = _ICMP.get((version, icmp.type), f"type {icmp.type}")
    return f"ICMPv{version} {name}" + (f" (code {icmp.code})" if icmp.code else "")


def _http(layer7: Any) -> str:
    http = layer7.http
    asked = f"{http.method} {http.url}"
    if layer7.type == REQUEST and not http.code:
        return f"{http.protocol} {asked}"
    took = f" {layer7.latency_ns / 1e6:.3g}ms" if layer7.latency_ns else ""
    return f"{http.protocol} {http.code}{took} ({asked})"


def _dns(layer7: Any) -> str:
    dns = layer7.dns
    asked = f"{dns.query} {','.join(dns.qtypes)}".rstrip()
    if layer7.type == REQUEST and not (dns.ips or dns.cnames or dns.rcode):
        return f"DNS Query {asked}"
    source = f"{dns.observation_source} " if dns.observation_source else ""
    if dns.rcode:
        name = _RCODES[dns.rcode] if dns.rcode < len(_RCODES) else f"rcode {dns.rcode}"
        return f"DNS Answer {name} ({source}{asked})"
    found = ",".join(dns.ips)
    parts = [f'"{found}"'] if found else []
    parts += [f"CNAMEs: {','.join(dns.cnames)}"] if dns.cnames else []
    return " ".join(["DNS Answer", *parts, f"TTL: {dns.ttl}", f"({source}{asked})"])
