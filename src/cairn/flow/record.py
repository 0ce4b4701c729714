"""A recorded flow, as a line of JSON.

    line  <->  Flow; what is no flow: BadFlow

The form is that of Hubble's exporter and of `hubble observe -o jsonpb`: an object with the flow
under `flow`, or the flow itself.

Invariants  A line is a Flow or BadFlow; fields that are not read here are passed over.
            What a Flow holds is written so that it is read the same.
Standards   Cilium api/v1/flow/flow.proto, in protobuf's JSON form
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from cairn.net import Address, Protocol, parse_address

ICMP, ICMPV6 = 1, 58
_ICMP_NAMES = {"ICMPv4": ICMP, "ICMPv6": ICMPV6}
_NONE: Mapping[str, str] = MappingProxyType({})
# Python's datetime has microseconds; Hubble writes nanoseconds.
_FRACTION = re.compile(r"(\.\d{1,6})\d*")


class BadFlow(ValueError):
    """A line that is no flow; the text says why."""


@dataclass(frozen=True, slots=True)
class FlowEnd:
    """One end of a flow, as it was when the flow was seen."""

    namespace: str = ""
    """Of the pod; "" outside the cluster."""
    pod: str = ""
    """Name of the pod."""
    labels: Mapping[str, str] = field(default_factory=lambda: _NONE)
    """Labels without their source (`k8s:app=web` is app=web); reserved ones as `reserved:host`."""
    identity: int = 0
    """Number; below 256 it says which reserved group it is."""
    workload: str = ""
    """Kind and name of its owner: `Deployment/web`."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection, or one message of it."""

    time: datetime
    """When it was seen."""
    verdict: str
    """FORWARDED, DROPPED, AUDIT, REDIRECTED."""
    source: FlowEnd
    """Who opened the connection, or sent this packet of it."""
    destination: FlowEnd
    """Who was reached."""
    source_address: Address
    """Its address."""
    destination_address: Address
    """Its address, after service translation."""
    protocol: int
    """IANA protocol number."""
    port: int
    """Destination port; for ICMP the type times 256, plus the code."""
    source_port: int = 0
    """Source port."""
    is_reply: bool = False
    """Whether it is an answer on a connection that the other end opened."""
    names: tuple[str, ...] = ()
    """DNS names that the destination was reached by, lower case, without the final dot."""
    http: tuple[str, str] | None = None
    """Method and URL of a request."""
    dns_query: str = ""
    """Name that was asked for, likewise."""
    times: int = 1
    """How many there were that differ in time and source port alone."""


def read_flow(line: str | bytes) -> Flow:
    """Return the flow that a line holds; raises BadFlow."""
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFlow(f"not JSON: {error}") from None
    flow = raw.get("flow", raw) if isinstance(raw, dict) else None
    if not isinstance(flow, dict):
        raise BadFlow("not an object with a flow")
    try:
        return _flow(flow)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadFlow(what) from None


def _flow(raw: Mapping[str, Any]) -> Flow:
    protocol, source_port, port = _layer4(raw["l4"])
    source, destination = raw.get("source") or {}, raw.get("destination") or {}
    layer7 = raw.get("l7") or {}
    # A response that flows back repeats its request; ours tells both at once, the client first.
    repeated = layer7.get("type") == "RESPONSE" and raw.get("is_reply")
    request = None if repeated else layer7.get("http")
    return Flow(
        time=read_time(str(raw["time"])),
        verdict=str(raw.get("verdict") or "FORWARDED"),
        source=_end(source),
        destination=_end(destination),
        source_address=parse_address(str(raw["IP"]["source"])),
        destination_address=parse_address(str(raw["IP"]["destination"])),
        protocol=protocol,
        port=port,
        source_port=source_port,
        is_reply=bool(raw.get("is_reply")),
        names=tuple(_name(name) for name in raw.get("destination_names") or ()),
        http=(str(request["method"]), str(request["url"])) if request else None,
        dns_query=_name((layer7.get("dns") or {}).get("query") or ""),
    )


def _layer4(raw: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return protocol, source port and destination port."""
    for name, part in raw.items():
        if name in _ICMP_NAMES:
            return _ICMP_NAMES[name], 0, (_octet(part, "type") << 8) + _octet(part, "code")
        if name in Protocol.__members__:
            return Protocol[name], _port(part, "source_port"), _port(part, "destination_port")
    raise ValueError(f"l4 has none of {', '.join((*Protocol.__members__, *_ICMP_NAMES))}")


def _port(part: Mapping[str, Any], name: str) -> int:
    return _bounded(part, name, 65535)


def _octet(part: Mapping[str, Any], name: str) -> int:
    return _bounded(part, name, 255)


def _bounded(part: Mapping[str, Any], name: str, most: int) -> int:
    number = int(part.get(name) or 0)
    if not 0 <= number <= most:
        raise ValueError(f"{name} {number} is not 0 to {most}")
    return number


def _end(raw: Mapping[str, Any]) -> FlowEnd:
    workloads: list[Mapping[str, Any]] = raw.get("workloads") or [{}]
    kind, name = workloads[0].get("kind") or "", workloads[0].get("name") or ""
    return FlowEnd(
        namespace=str(raw.get("namespace") or ""),
        pod=str(raw.get("pod_name") or ""),
        labels=dict(_label(str(text)) for text in raw.get("labels") or ()),
        identity=int(raw.get("identity") or 0),
        workload=f"{kind}/{name}" if name else "",
    )


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.removeprefix("k8s:"), value


def _name(text: str) -> str:
    return str(text).rstrip(".").lower()


def read_time(text: str) -> datetime:
    """Return the time that RFC 3339 text spells, to the microsecond; raises ValueError."""
    shortened = _FRACTION.sub(r"\1", text.replace("Z", "+00:00"), count=1)
    found = datetime.fromisoformat(shortened)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def write_flow(flow: Flow) -> str:
    """Return the flow as one line, without the line's end."""
    raw: dict[str, Any] = {
        "time": flow.time.isoformat(),
        "verdict": flow.verdict,
        "IP": {
            "source": str(flow.source_address),
            "destination": str(flow.destination_address),
            "ipVersion": f"IPv{flow.destination_address.version}",
        },
        "l4": _write_layer4(flow),
        "source": _write_end(flow.source),
        "destination": _write_end(flow.destination),
        "Type": "L7" if flow.http or flow.dns_query else "L3_L4",
        "is_reply": flow.is_reply,
    }
    if flow.names:
        raw["destination_names"] = list(flow.names)
    if flow.http:
        raw["l7"] = {
            "type": "REQUEST",
            "http": {"method": flow.http[0], "url": flow.http[1]},
        }
    elif flow.dns_query:
        raw["l7"] = {"type": "REQUEST", "dns": {"query": f"{flow.dns_query}."}}
    return msgspec.json.encode({"flow": raw}).decode()


def _write_layer4(flow: Flow) -> dict[str, Any]:
    if flow.protocol in (ICMP, ICMPV6):
        name = "ICMPv4" if flow.protocol == ICMP else "ICMPv6"
        return {name: {"type": flow.port >> 8, "code": flow.port & 255}}
    ports = {"source_port": flow.source_port, "destination_port": flow.port}
    return {Protocol(flow.protocol).name: ports}


def _write_end(end: FlowEnd) -> dict[str, Any]:
    raw: dict[str, Any] = {"identity": end.identity}
    if end.namespace:
        raw["namespace"] = end.namespace
    if end.pod:
        raw["pod_name"] = end.pod
    if end.labels:
        raw["labels"] = [
            key if key.startswith("reserved:") else f"k8s:{key}={value}"
            for key, value in end.labels.items()
        ]
    if end.workload:
        kind, _, name = end.workload.partition("/")
        raw["workloads"] = [{"kind": kind, "name": name}]
    return raw
