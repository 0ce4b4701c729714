"""Flows as columns: fixed-size records, with numbers for what dictionaries spell out.

    arrays of FLOW  +  Dictionaries  ->  masks (filter.py), rows (view.py), files, messages

A flow is one thing that happened to a connection, or to a packet: it began, ended, was dropped,
translated, handed over, given to a proxy; or a request or a lookup that a proxy saw.

Shapes      FLOW: one record for each flow, oldest first. `source_end`, `destination_end`: keys of
            `Dictionaries.ends`, `decision`: of `decisions`, `detail`: of `details`, `node`: of
            `nodes`. Key 0 is always "nothing".
Units       ports in host order; `time_ns` since 1970, as the node's clock says
Invariants  The dtype only grows at its end: what was stored stays readable.
"""

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

FLOW = np.dtype(
    [
        ("time_ns", "<u8"),
        ("source", "V16"),
        ("destination", "V16"),
        ("translated", "V16"),
        ("packets", "<u8"),
        ("octets", "<u8"),
        ("packets_back", "<u8"),
        ("octets_back", "<u8"),
        ("source_identity", "<u4"),
        ("destination_identity", "<u4"),
        ("source_end", "<u4"),
        ("destination_end", "<u4"),
        ("decision", "<u4"),
        ("detail", "<u4"),
        ("node", "<u4"),
        ("ifindex", "<u4"),
        ("length", "<u4"),
        ("suppressed", "<u4"),
        ("source_port", "<u2"),
        ("destination_port", "<u2"),
        ("translated_port", "<u2"),
        ("kernel_reason", "<u2"),
        ("protocol", "u1"),
        ("verdict", "u1"),
        ("kind", "u1"),
        ("point", "u1"),
        ("reason", "u1"),
        ("tcp_flags", "u1"),
        ("flags", "u1"),
        ("icmp_type", "u1"),
        ("icmp_code", "u1"),
        ("pad", "V7"),
    ]
)
"""152 octets. `reason`: the data plane's verdict (abi.verdicts.Verdict), which names a drop."""


class FlowVerdict(IntEnum):
    """What became of it, with the numbers of Hubble's enum Verdict."""

    UNKNOWN = 0
    FORWARDED = 1
    DROPPED = 2
    ERROR = 3
    AUDIT = 4
    REDIRECTED = 5
    TRACED = 6
    TRANSLATED = 7


class FlowKind(IntEnum):
    """What is told; to 8 the data plane's own kinds of events (abi.event.EventKind)."""

    DROP = 0
    NEW = 1
    CLOSED = 2
    TRANSLATED = 3
    HANDED_OVER = 4
    REDIRECTED = 5
    AUDITED = 6
    PACKET = 7
    KERNEL_DROP = 8
    HTTP = 9
    """A request that the HTTP proxy judged, with its response's status."""
    DNS = 10
    """A lookup that the DNS proxy judged, with its answer."""
    TLS = 11
    """A TLS connection that the proxy judged by its server's name."""
    LOST = 12
    """Events that were lost on the node: how many stands in `packets`, where in `point`."""


class FlowFlag(IntFlag):
    """To 32 the data plane's own flags of events (abi.event.EventFlag)."""

    REPLY = 1
    TO_POD = 2
    FROM_POD = 4
    FROM_PROXY = 8
    RESET = 16
    REPLY_UNKNOWN = 32


@dataclass(frozen=True, slots=True)
class End:
    """Who has an address, as it was when the flow happened."""

    namespace: str = ""
    """Of the pod or Service; empty for nodes and the world."""
    pod: str = ""
    """Name of the pod."""
    labels: tuple[str, ...] = ()
    """As Hubble writes them, sorted: `k8s:app=web`, `reserved:host`, `fqdn:*.example.org`."""
    workload_kind: str = ""
    """Deployment, StatefulSet, ...: what made the pod."""
    workload: str = ""
    """Its name."""
    service: str = ""
    """Name of the Service that has the address, or had it before translation."""
    node: str = ""
    """Name of the node, where the address is a node's."""
    names: tuple[str, ...] = ()
    """DNS names by which the peer learnt the address, sorted."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Which policy's rule decided."""

    kind: str
    """NetworkPolicy, CiliumNetworkPolicy, ..."""
    namespace: str
    """Empty for a cluster's own."""
    name: str
    """Of the policy."""
    rule: str = ""
    """Field of the rule, such as ingress[0]; empty: the policy's default deny."""
    egress: bool = False
    """Whether the rule is about packets that leave the pod."""
    labels: tuple[str, ...] = ()
    """Of the policy, as Hubble writes them."""


@dataclass(frozen=True, slots=True)
class HttpDetail:
    """One request."""

    method: str
    url: str
    """Scheme, host, path."""
    protocol: str
    """HTTP/1.1, HTTP/2."""
    status: int
    """0: none was sent."""
    latency_ns: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DnsDetail:
    """One lookup."""

    query: str
    """The name, with its last dot."""
    types: tuple[str, ...]
    """A, AAAA."""
    rcode: int
    addresses: tuple[str, ...] = ()
    cnames: tuple[str, ...] = ()
    ttl_s: int = 0
    latency_ns: int = 0
    source: str = "proxy"


@dataclass(frozen=True, slots=True)
class TlsDetail:
    """One TLS connection."""

    server_name: str


Detail = HttpDetail | DnsDetail | TlsDetail


@dataclass(slots=True)
class Dictionaries:
    """What the numbers of records stand for."""

    ends: dict[int, End] = field(default_factory=dict)
    decisions: dict[int, Decision] = field(default_factory=dict)
    details: dict[int, Detail] = field(default_factory=dict)
    nodes: dict[int, str] = field(default_factory=dict)
    node_labels: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Labels of the nodes that have any, by the keys of `nodes`; as those of ends."""
    interfaces: dict[int, str] = field(default_factory=dict)
    """Names of network interfaces, by `interface_key` of the node's key and the index."""
    kernel_reasons: dict[int, str] = field(default_factory=dict)
    """What the nodes' kernels call their reasons to drop, by `interface_key` of the node's key and
    the number: another kernel numbers them otherwise."""

    def update(self, added: "Dictionaries") -> None:
        """Take another's entries too."""
        self.ends.update(added.ends)
        self.decisions.update(added.decisions)
        self.details.update(added.details)
        self.nodes.update(added.nodes)
        self.node_labels.update(added.node_labels)
        self.interfaces.update(added.interfaces)
        self.kernel_reasons.update(added.kernel_reasons)


def interface_key(node: int, ifindex: int) -> int:
    """Return the key of a node's interface, or of another number that is the node's own."""
    return node << 32 | ifindex


def interface_keys(
    nodes: npt.NDArray[np.integer[Any]], numbers: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.uint64]:
    """Return `interface_key` of many."""
    return nodes.astype(np.uint64) << np.uint64(32) | numbers.astype(np.uint64)


@dataclass(frozen=True, slots=True)
class Floors:
    """Lowest keys that this batch and those after it may still use without adding them again."""

    ends: int = 0
    decisions: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Flows of one moment, and what is new in the dictionaries that they need."""

    records: np.ndarray[tuple[int], np.dtype[np.void]]
    """FLOW."""
    added: Dictionaries
    """Entries that no batch before had; keys are never used for anything else."""
    floors: Floors = field(default_factory=Floors)
    """Entries below are needed only by flows that came before; a detail only by its own batch."""
