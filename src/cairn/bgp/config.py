"""How a peer is configured, and what a speaker tells its driver to connect to.

    names, numbers, addresses  ->  PeerConfig

Units       seconds; ports in host order
Not here    the JSON form that an agent sends (cairn.desired).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import NewType

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.family import IPV4_UNICAST, IPV6_UNICAST, Family
from cairn.net import Address, Network

ConnectionId = NewType("ConnectionId", int)
"""One TCP connection; the speaker gives the numbers out and uses none twice."""

RouteFilter = Callable[[Network, Attributes], Attributes | None]
"""Returns the attributes to use, perhaps changed; None rejects the route."""

BGP_PORT = 179


class AsnRule(Enum):
    """Which autonomous system a peer must be in, where no number is given."""

    INTERNAL = "internal"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """One peer, or a template for all peers of a network."""

    name: str
    """How people and events call it."""
    remote: Address | Network
    """Its address; a network: any peer from there, which must connect to us."""
    local_asn: int
    """Our autonomous system towards it."""
    remote_asn: int | AsnRule | None = None
    """Its autonomous system; None: any."""
    hold_time_s: int = 90
    """What we propose; 0: no keepalives."""
    keepalive_s: int | None = None
    """Between keepalives at most; None: a third of the hold time agreed on."""
    connect_retry_s: int = 5
    """Longest wait between attempts to connect, before jitter."""
    passive: bool = False
    """Never connect, only listen."""
    password: str | None = None
    """TCP MD5 key, for the driver."""
    families: tuple[Family, ...] = (IPV4_UNICAST, IPV6_UNICAST)
    """What routes are exchanged of."""
    next_hops: tuple[Address, ...] = ()
    """Our own addresses, the next hops of families that the session's address is not of."""
    graceful_restart_s: int | None = None
    """How long the peer should keep our routes, and whether we keep its; None: neither."""
    max_prefixes: int | None = None
    """The session ends when the peer announces more."""
    multihop_ttl: int | None = None
    """TTL of the connection, for the driver."""
    import_filter: RouteFilter | None = None
    """What is taken from it."""
    export_filter: RouteFilter | None = None
    """What is announced to it."""
    port: int = BGP_PORT
    """Where it listens."""
    local: Address | None = None
    """Source address to connect from, for the driver; None: the kernel chooses."""

    @property
    def is_dynamic(self) -> bool:
        """Return whether this is a template for a network."""
        return self.network is not None

    @property
    def network(self) -> Network | None:
        """Return the network whose peers this is a template for; None for one peer."""
        return self.remote if isinstance(self.remote, IPv4Network | IPv6Network) else None

    @property
    def address(self) -> Address | None:
        """Return the address of the one peer; None for a template."""
        return None if isinstance(self.remote, IPv4Network | IPv6Network) else self.remote

    @property
    def essence(self) -> "PeerConfig":
        """Return what a running session depends on: the same essence, no reset."""
        return replace(
            self,
            connect_retry_s=0,
            next_hops=(),
            max_prefixes=None,
            import_filter=None,
            export_filter=None,
            passive=False,
        )

    def accepts_asn(self, asn: int) -> bool:
        """Return whether a peer in `asn` is the one meant."""
        match self.remote_asn:
            case None:
                return True
            case AsnRule.INTERNAL:
                return asn == self.local_asn
            case AsnRule.EXTERNAL:
                return asn != self.local_asn
            case number:
                return asn == number


@dataclass(frozen=True, slots=True)
class Connect:
    """A connection that the driver should open now."""

    connection: ConnectionId
    """The number to report it under."""
    peer: str
    """Name of the peer."""
    remote: Address
    """Where to."""
    port: int
    """Port there."""
    local: Address | None
    """Source address; None: the kernel chooses."""
    password: str | None
    """TCP MD5 key."""
    ttl: int | None
    """TTL to set."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A connection that nobody wants; the driver closes it."""

    reason: str
    """Why, in a line."""


def template_for(remote: Address, peers: Mapping[str, PeerConfig]) -> str | None:
    """Return the name of the template with the longest network that holds `remote`."""
    fitting = [
        (config.network.prefixlen, name)
        for name, config in peers.items()
        if config.network is not None
        and config.network.version == remote.version
        and remote in config.network
    ]
    return max(fitting)[1] if fitting else None
