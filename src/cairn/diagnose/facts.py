"""What is known of a cluster at one moment: its objects, each node's report, the router's views.

    API lists, `cairn report` of each node, the router's views  ->  Facts

Everything below crosses a process border as JSON, so every field has a default: a report of an
older or dying node holds less, and is read all the same.

Units   times in seconds of unix time where a name ends in `_at`
"""

from collections.abc import Mapping

import msgspec

from cairn.diagnose.process_facts import (
    AgentFact,
    CertificateFact,
    ProxyFact,
    RelayFact,
    SpeakerFact,
)
from cairn.kube.metadata import Object


class Setting(msgspec.Struct, frozen=True):
    """One kernel setting that Cairn depends on."""

    name: str
    """As sysctl(8) has it."""
    value: str | None
    """What it is; None: this kernel has none."""
    wanted: str
    """What the agent set it to."""


class Link(msgspec.Struct, frozen=True):
    """One network interface."""

    name: str
    index: int = 0
    mtu_bytes: int = 0
    up: bool = False
    """Whether its administrator has it up."""
    carrier: bool = False
    """Whether it can pass anything."""
    mac: str = ""
    addresses: tuple[str, ...] = ()
    """With prefix length."""


class RouteFact(msgspec.Struct, frozen=True):
    """One route of the kernel's main table."""

    prefix: str
    """Destination; 0.0.0.0/0 or ::/0 for the default."""
    gateways: tuple[str, ...] = ()
    """Next hops; empty: on the link."""
    metric: int = 0
    devices: tuple[str, ...] = ()


class NeighbourFact(msgspec.Struct, frozen=True):
    """One entry of a neighbour table."""

    address: str
    mac: str = ""
    state: str = ""
    """reachable, stale, delay, probe, failed, incomplete, permanent, noarp."""
    device: str = ""


class MapFact(msgspec.Struct, frozen=True):
    """One BPF map."""

    name: str
    entries: int = 0
    capacity: int = 0
    evicts: bool = False
    """Whether it forgets what was used least recently: then full is well."""


class Hook(msgspec.Struct, frozen=True):
    """One pinned link of a program."""

    name: str
    """Its pin."""
    attached: bool
    program: str = ""
    """Name of what runs there, if it is not Cairn's program."""


class Balanced(msgspec.Struct, frozen=True):
    """One frontend as the node's maps hold it."""

    where: str
    """address:port/protocol"""
    backends: tuple[str, ...] = ()
    """address:port of each that gets connections, in order."""
    digest: str = ""
    """Of its Maglev table: the same on every node."""


class EndpointFact(msgspec.Struct, frozen=True):
    """One pod that the node has wired."""

    pod: str
    """namespace/name"""
    addresses: tuple[str, ...] = ()
    interface: str = ""
    """At the node's end; its link is among the links."""
    mtu_bytes: int = 0
    """Of the pod's link; 0: not there."""
    mac: str = ""


class DiskFact(msgspec.Struct, frozen=True):
    """One file system that Cairn writes to."""

    path: str
    total_bytes: int = 0
    free_bytes: int = 0


class PathFact(msgspec.Struct, frozen=True):
    """What probes from this node to another one came to."""

    peer: str
    """Node's name, or "router"."""
    address: str
    small: bool = False
    """Whether a small packet was answered."""
    size_bytes: int = 0
    """IP packet that must pass: the smaller of both ends' MTU."""
    large: bool = False
    """Whether one of that size, not to be fragmented, was answered."""
    passed_bytes: int = 0
    """The largest that was, when `large` is not."""
    error: str = ""


class DnsFact(msgspec.Struct, frozen=True):
    """What the cluster DNS answered to a question from this node."""

    server: str
    answered: bool = False
    code: str = ""
    """NOERROR, SERVFAIL, ..."""
    error: str = ""
    took_ms: float = 0


class NodeReport(msgspec.Struct, frozen=True):
    """What one node tells of itself (`cairn report`)."""

    node: str
    version: str = ""
    """Of the program that reports."""
    now_at: float = 0
    """The node's clock."""
    clock_synchronised: bool | None = None
    """What the kernel says of it; None: it does not say."""
    kernel: str = ""
    missing: tuple[str, ...] = ()
    """What its kernel lacks for the data plane, a sentence each."""
    uptime_s: float = 0
    memory_total_bytes: int = 0
    memory_free_bytes: int = 0
    agent: AgentFact = AgentFact(error="not asked")
    speaker: SpeakerFact = SpeakerFact(error="not asked")
    uplink: str = ""
    settings: tuple[Setting, ...] = ()
    links: tuple[Link, ...] = ()
    routes: tuple[RouteFact, ...] = ()
    neighbours: tuple[NeighbourFact, ...] = ()
    maps: tuple[MapFact, ...] = ()
    hooks: tuple[Hook, ...] = ()
    balanced: tuple[Balanced, ...] = ()
    endpoints: tuple[EndpointFact, ...] = ()
    events_lost: int = 0
    """Since the programs were loaded."""
    drops: dict[str, int] = {}
    """Packets by verdict, since the programs were loaded."""
    disks: tuple[DiskFact, ...] = ()
    certificates: tuple[CertificateFact, ...] = ()
    paths: tuple[PathFact, ...] = ()
    dns: tuple[DnsFact, ...] = ()
    proxies: tuple[ProxyFact, ...] = ()
    vips: tuple[str, ...] | None = None
    """Addresses that its data plane serves; None: the map cannot be read."""
    wired: dict[str, bool] | None = None
    """Addresses of its map of pods, and whether each is closed; None: it cannot be read."""
    versions: dict[str, str] = {}
    """Of other processes of Cairn that run there, by name."""
    history: dict[str, float] = {}
    """Figures of the relay's page of metrics, if it runs there and keeps a history."""
    errors: tuple[str, ...] = ()
    """What could not be read, one line each."""


class RouterSession(msgspec.Struct, frozen=True):
    """One session, as the router sees it."""

    address: str
    asn: int = 0
    state: str = ""
    since_s: float | None = None
    prefixes: int | None = None
    last_error: str = ""


class RouterPath(msgspec.Struct, frozen=True):
    """One path of the router's RIB."""

    prefix: str
    gateway: str = ""
    neighbor: str = ""
    valid: bool = True
    best: bool = False
    stale: bool = False
    reason: str = ""


class RouterReport(msgspec.Struct, frozen=True):
    """What the home router tells."""

    skipped: str = ""
    """Why it could not be asked; empty: it was."""
    kind: str = ""
    """cairn, frr, bird, openbgpd."""
    router_id: str = ""
    asn: int = 0
    sessions: tuple[RouterSession, ...] = ()
    paths: tuple[RouterPath, ...] = ()
    routes: tuple[RouteFact, ...] = ()
    """Of its kernel's main table; empty if only its BGP could be asked."""
    neighbours: tuple[NeighbourFact, ...] = ()
    links: tuple[Link, ...] = ()
    settings: tuple[Setting, ...] = ()
    counters: dict[str, int] = {}
    grew: dict[str, int] = {}
    """By how much `counters` grew while the nodes were asked."""
    now_at: float = 0
    """Its clock; 0 if it was not told."""
    has_kernel: bool = False
    """Whether routes, neighbours, links and settings were asked for."""


PODS_OF = "pods of "
"""Before a node's name as a path's peer: the way is to a pod of it, through the overlay."""


class Cluster(msgspec.Struct, frozen=True):
    """Objects of the API server."""

    objects: dict[str, tuple[Object, ...]] = {}
    """By kind."""
    server: str = ""
    """Its address."""
    now_at: float = 0
    """Its clock, by the Date of an answer; 0: not told."""

    def of(self, kind: str) -> tuple[Object, ...]:
        """Return the objects of a kind; none if the server does not know it."""
        return self.objects.get(kind, ())


class Facts(msgspec.Struct, frozen=True):
    """Everything that is known at one moment."""

    cluster: Cluster = Cluster()
    nodes: dict[str, NodeReport] = {}
    """By node's name; those that could not be asked are missing."""
    unasked: dict[str, str] = {}
    """Why a node could not be asked."""
    router: RouterReport = RouterReport(skipped="not asked")
    relay: RelayFact = RelayFact(skipped="not asked")
    certificates: tuple[CertificateFact, ...] = ()
    """Of the API server, the asker, and Secrets that Cairn's pods mount."""
    asked_at: dict[str, float] = {}
    """The asker's clock when a node's answer arrived, by node; "api" and "router" likewise."""
    took_s: Mapping[str, float] = {}
    """How long each part of the asking took."""
    now_at: float = 0
    """The asker's clock."""
