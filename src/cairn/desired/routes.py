"""What a node should tell its BGP peers, and what routes a kernel should hold.

    the agent's decisions  ->  SpeakerConfig  ->  `cairn speaker`
    a RIB's best paths     ->  KernelRoute    ->  netlink

Here the Kubernetes side and the BGP side meet: both can read these values and neither owns them.

Units       times in seconds, ports in host order, weights from 1 to 256
Not here    Their JSON form (routes_json), the filters' rules (prefix_filter).
"""

from dataclasses import dataclass

from cairn.desired.prefix_filter import PrefixFilter
from cairn.net import Address, Network

IPV4_UNICAST = "ipv4/unicast"
IPV6_UNICAST = "ipv6/unicast"
FAMILIES = (IPV4_UNICAST, IPV6_UNICAST)
"""Address families by the name that configurations use."""

PROTOCOL_BGP = 186
"""The kernel's number for routes that a BGP daemon owns (RTPROT_BGP)."""


@dataclass(frozen=True, slots=True)
class PeerSpec:
    """One router that a node peers with."""

    name: str
    """Unique among the peers; appears in events and logs."""
    address: Address
    """Where the peer listens."""
    local_asn: int
    """Our autonomous system towards this peer."""
    remote_asn: int | None = None
    """The peer's autonomous system; None takes any."""
    port: int = 179
    """TCP port of the peer."""
    source: Address | None = None
    """Local address of the session; None lets the kernel choose."""
    hold_time_s: int = 90
    """Proposed hold time; 0 turns keepalives off."""
    keepalive_s: int | None = None
    """Interval of keepalives; None is a third of the negotiated hold time."""
    connect_retry_s: int = 5
    """Longest wait between two attempts to connect."""
    password: str | None = None
    """TCP MD5 key, 1 to 80 octets."""
    families: tuple[str, ...] = (IPV4_UNICAST,)
    """Address families to negotiate, out of FAMILIES."""
    next_hops: tuple[Address, ...] = ()
    """The node's own addresses: next hops of the families that `address` is not of."""
    graceful_restart_s: int | None = None
    """How long the peer shall keep our routes while we restart; None: not negotiated."""
    max_prefixes: int | None = None
    """The session is closed when the peer sends more; None: no limit."""
    ttl: int | None = None
    """TTL of our packets (eBGP multihop); None: 1 for eBGP, the system's for iBGP."""
    import_filter: PrefixFilter | None = None
    """What the peer may send us; None: everything."""
    export_filter: PrefixFilter | None = None
    """What the peer gets from us; None: everything we announce."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One prefix that this node announces."""

    prefix: Network
    """Usually a single address."""
    next_hop: Address | None = None
    """None: our own address of the prefix's family, on the session or among `next_hops`."""
    local_pref: int = 100
    """Sent to iBGP peers only."""
    med: int | None = None
    """Multi-exit discriminator; None sends none."""
    communities: tuple[int, ...] = ()
    """RFC 1997 communities as 32-bit numbers."""
    large_communities: tuple[tuple[int, int, int], ...] = ()
    """RFC 8092 communities."""
    weight: int | None = None
    """This node's share of the traffic, relative to the others'; None: routers share equally."""


@dataclass(frozen=True, slots=True)
class BfdNeighbour:
    """Another node on the link, whose life is watched (RFC 5880)."""

    address: Address
    """Its address on the link."""
    source: Address
    """Our address on the same link."""
    interval_ms: int = 200
    """Interval at which we would like to send, and can receive."""
    multiplier: int = 3
    """How many packets in a row may be missing before it counts as gone."""


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """The whole desired state of a node's speaker."""

    router_id: str
    """BGP identifier, as a dotted quad."""
    asn: int
    """The node's autonomous system."""
    peers: tuple[PeerSpec, ...] = ()
    """Everyone to peer with."""
    routes: tuple[Announcement, ...] = ()
    """Everything to announce, to every peer whose filter permits it."""
    bfd: tuple[BfdNeighbour, ...] = ()
    """The nodes to watch."""


@dataclass(frozen=True, slots=True)
class NextHop:
    """One way out of a route."""

    address: Address | None
    """The gateway; None: the destination is on the link."""
    ifindex: int | None = None
    """Interface; None lets the kernel find it from the gateway."""
    weight: int = 1
    """Share among the route's next hops."""


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """One route of the kernel's table."""

    prefix: Network
    """Destination."""
    nexthops: tuple[NextHop, ...]
    """At least one; in a fixed order, because the kernel's flow hashing depends on it."""
    protocol: int = PROTOCOL_BGP
    """Who owns the route (RTPROT_*)."""
    metric: int = 20
    """Priority among routes to the same prefix, lower wins."""
    table: int = 254
    """Routing table; 254 is main."""
