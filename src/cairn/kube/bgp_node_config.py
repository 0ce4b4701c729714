"""What one node is to do in BGP, as the operator compiled it from policies.

    cilium.io/v2alpha1 CiliumBGPNodeConfig  ->  NodeConfig

Invariants  A peer that cannot be honoured raises InvalidPeer naming the field; the others stand.
Standards   CiliumBGPNodeConfig v2alpha1, with the fields of the older peering policy beside
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cairn.kube.metadata import Metadata, Object, metadata_of
from cairn.kube.selector import Selector, parse_selector
from cairn.net import Address, parse_address

CONNECT_RETRY_LIMIT_S = 5
"""Longest wait between two attempts to connect, whatever a policy says."""


class InvalidPeer(ValueError):
    """A peer whose fields contradict themselves or cannot be read."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One router that the node peers with."""

    name: str
    """Unique within the instance."""
    address: Address
    """Where it listens."""
    asn: int
    """Its autonomous system."""
    port: int
    """TCP port."""
    hold_time_s: int
    """Proposed hold time."""
    keepalive_s: int
    """Interval of keepalives."""
    connect_retry_s: int
    """Longest wait between attempts to connect."""
    graceful_restart_s: int | None
    """How long our routes shall outlive our restart; None: not negotiated."""
    multihop_ttl: int | None
    """TTL of an eBGP session over several hops; None: a direct one."""
    password: str | None
    """TCP MD5 key, in clear in the object."""
    password_secret: str
    """Name of the Secret that holds the key; empty for none."""
    families: tuple[str, ...]
    """Address families to exchange routes of, as "ipv4/unicast"; empty: those that fit."""
    max_prefixes: int | None
    """Limit of prefixes taken from the peer."""
    import_filter: str
    """Filter rules, empty for none."""
    export_filter: str
    """Filter rules, empty for none."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One BGP speaker identity of the node."""

    name: str
    """Unique within the node."""
    asn: int
    """Our autonomous system."""
    services: Selector | None
    """Which Services' addresses are announced; None: none."""
    export_pod_cidr: bool
    """Whether the node's pod networks are announced."""
    peers: tuple[Peer, ...]
    """Those that can be honoured."""
    invalid: tuple[str, ...]
    """Why others cannot, a line each."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything one node is to do in BGP."""

    metadata: Metadata
    """Named as the node."""
    instances: tuple[Instance, ...]
    """Usually one."""

    @staticmethod
    def from_object(obj: Object) -> "NodeConfig":
        """Return the view of a CiliumBGPNodeConfig."""
        instances = (obj.get("spec") or {}).get("bgpInstances") or ()
        return NodeConfig(metadata_of(obj), tuple(_instance(raw) for raw in instances))


def _instance(raw: Mapping[str, Any]) -> Instance:
    peers: list[Peer] = []
    invalid: list[str] = []
    for item in raw.get("peers") or ():
        try:
            peers.append(_peer(item))
        except ValueError as error:
            invalid.append(f"peer {item.get('name') or item.get('peerAddress')}: {error}")
    selector = raw.get("serviceSelector")
    return Instance(
        name=raw.get("name") or "",
        asn=raw.get("localASN") or 0,
        services=None if selector is None else parse_selector(selector),
        export_pod_cidr=bool(raw.get("exportPodCIDR")),
        peers=tuple(peers),
        invalid=tuple(invalid),
    )


def _peer(raw: Mapping[str, Any]) -> Peer:
    text = str(raw.get("peerAddress") or "").split("/")[0]
    restart = raw.get("gracefulRestart") or {}
    timers = raw.get("timers") or {}
    hold_time_s = int(timers.get("holdTimeSeconds") or 90)
    return Peer(
        name=raw.get("name") or text,
        address=parse_address(text),
        asn=int(raw.get("peerASN") or 0),
        port=int(raw.get("peerPort") or 179),
        hold_time_s=hold_time_s,
        keepalive_s=int(timers.get("keepAliveTimeSeconds") or max(1, hold_time_s // 3)),
        connect_retry_s=int(timers.get("connectRetryTimeSeconds") or 120),
        graceful_restart_s=(
            int(restart.get("restartTimeSeconds") or 120) if restart.get("enabled") else None
        ),
        multihop_ttl=raw.get("ebgpMultihop"),
        password=raw.get("password"),
        password_secret=raw.get("authSecretRef") or "",
        families=tuple(f"{f.get('afi')}/{f.get('safi')}" for f in raw.get("families") or ()),
        max_prefixes=raw.get("maxPrefixes"),
        import_filter=raw.get("importFilter") or "",
        export_filter=raw.get("exportFilter") or "",
    )
