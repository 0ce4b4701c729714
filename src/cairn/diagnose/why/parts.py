"""What each of those who are asked says: a node, the router, the client's host.

    the agents', the router's, the client's answers  ->  NodePart, RouterPart, HostPart, …

These cross from a node to the asker as JSON, so every field has a default.

Not here    Asking (cli.why_collect, cli.why_node).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cairn.observe.connection_rows import ConnectionRow


@dataclass(frozen=True, slots=True)
class Peer:
    """One BGP session as the node's speaker has it."""

    address: str
    state: str
    asn: int
    local_asn: int
    last_error: str = ""
    port_answer: str = ""
    """What a TCP connection to its BGP port came to: "" if none was tried, else connected, refused,
    or no answer."""
    flaps: bool = False
    """Whether it ended several times lately, and has not been up for longer than then."""
    untold: str = ""
    """Why there are prefixes that it should be told of and is not; empty: it is told of all."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Who has an address on a link."""

    mac: str
    """Ethernet address; empty if nobody answered."""
    state: str
    """The kernel's word: reachable, stale, failed, incomplete, …"""

    @property
    def lost(self) -> bool:
        """Whether nobody answers."""
        return self.state in ("failed", "incomplete")


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a name led to."""

    server: str
    """Who was asked: an address, or a file."""
    addresses: tuple[str, ...] = ()
    error: str = ""
    """Why there is no address."""


@dataclass(frozen=True, slots=True)
class NodePart:
    """What one node says, asked about one frontend."""

    agent: str = ""
    """Why its agent does not answer; empty: it does."""
    speaker: str = ""
    """Likewise of its speaker."""
    dns: str = ""
    """Likewise of its DNS proxy."""
    proxy: str = ""
    """Likewise of its Envoy."""
    served: bool = True
    """Whether its maps hold the frontend."""
    ready: int = 0
    """Backends there that take new connections."""
    local: int = 0
    """Those of them on the node."""
    shares: Mapping[str, int] = field(default_factory=dict)
    """Slots of the Maglev table by backend."""
    digest: str = ""
    """Equal on nodes that choose alike."""
    chosen: str = ""
    """The backend of the client, where its address alone or the given port decides."""
    connections: tuple[ConnectionRow, ...] = ()
    """Of the client to the target, the latest first."""
    tried: Mapping[str, str] = field(default_factory=dict)
    """Backends of the node, ADDRESS:PORT: what a TCP connection came to; empty: connected."""
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)
    """By address, those that the walk asks about."""
    peers: tuple[Peer, ...] = ()
    """Its BGP sessions."""
    routes: tuple[str, ...] = ()
    """Prefixes that its speaker announces."""
    back: str = ""
    """Next hop to the client by its own routes; empty: none, or the client is on its link."""
    lost: tuple[str, ...] = ()
    """Addresses of nodes whose BFD session was up and is not."""
    learnt: Mapping[str, tuple[str, ...]] | None = None
    """Addresses that its DNS proxy has learnt, by name; None: it was not asked."""
    lookup: Lookup | None = None
    """What the cluster's DNS answers it for the target's name."""
    error: str = ""
    """Why its maps could not be read."""
    flows: "tuple[SeenFlow, ...] | None" = None
    """Between client and target, as its agent remembers; None: it was not asked, or does not."""
    flows_reach_s: float = 0
    """How far back it remembers."""


@dataclass(frozen=True, slots=True)
class RouterSession:
    """One session as the router has it."""

    address: str
    state: str
    asn: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class RouterPath:
    """One path of the router's RIB."""

    prefix: str
    gateway: str
    neighbor: str
    valid: bool
    best: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RouterPart:
    """What the router says."""

    name: str
    """How it is called."""
    asn: int = 0
    sessions: tuple[RouterSession, ...] = ()
    paths: tuple[RouterPath, ...] = ()
    """Of the target's address."""
    gateways: tuple[str, ...] | None = None
    """Next hops in its kernel for the target; None: not known; empty: no route."""
    prefix: str = ""
    """Prefix of that route."""
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)
    """By address."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """What went wrong how often."""
    grew: Mapping[str, int] = field(default_factory=dict)
    """By how much `counters` grew while the nodes were asked."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Whether its kernel forwards, by the name of the setting; empty: not known."""
    daemon: str = ""
    """Why its BGP daemon cannot be asked; empty: it answered."""


@dataclass(frozen=True, slots=True)
class HostPart:
    """What the client's host says."""

    networks: tuple[str, ...] = ()
    """Subnets of its interfaces."""
    down: str = ""
    """An interface without carrier."""
    routed: bool = True
    """Whether it has a route to the target."""
    gateway: str = ""
    """Next hop; empty: the target is on its own link."""
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)
    """By address."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What became of a real connection."""

    where: str
    """From where it was opened."""
    connected: bool
    said: str
    """What was answered, or what went wrong."""
    large: str = ""
    """What became of a large packet; empty: it passed, or none was sent."""


@dataclass(frozen=True, slots=True)
class SeenFlow:
    """A flow that was recorded."""

    verdict: str
    reason: str
    """Why it was dropped."""
    policy: str
    """That decided, with its rule; empty: none did."""
    node: str
    at: float
    """By the node's clock, unix time."""
    age_s: float
    forth: bool = True
    """Whether it goes from client to target."""
    opener: int = 0
    """The client's port."""
    begins: bool = False
    """Whether it tells of a connection that begins."""
