"""Turn a node's desired BGP state into what the protocol machine takes.

    desired.SpeakerConfig  ->  bgp.PeerConfig by name, Attributes by prefix, bfd.SessionConfig

Pure. A next hop that is not given stays None: each session then uses its own local address, or for
the other family one of the peer's `next_hops`.
"""

from cairn.bfd.session import SessionConfig
from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.attribute.communities import Community
from cairn.bgp.attribute.extended_communities import link_bandwidth
from cairn.bgp.attribute.large_communities import LargeCommunity
from cairn.bgp.config import PeerConfig
from cairn.bgp.family import IPV4_UNICAST, IPV6_UNICAST, Family
from cairn.desired import routes
from cairn.desired.routes import Announcement, PeerSpec, SpeakerConfig
from cairn.net import Address, Network

FAMILIES: dict[str, Family] = {
    routes.IPV4_UNICAST: IPV4_UNICAST,
    routes.IPV6_UNICAST: IPV6_UNICAST,
}

SHARE_BYTES_PER_S = 125_000_000
"""What a weight of one stands for: routers compare the figures, whatever they are (1 Gbit/s)."""

EBGP_TTL = 1
"""A neighbour in another system is on the same link, unless multihop says otherwise."""


def peer_configs(config: SpeakerConfig) -> dict[str, PeerConfig]:
    """Return the peers by name."""
    return {peer.name: peer_config(peer) for peer in config.peers}


def peer_config(peer: PeerSpec) -> PeerConfig:
    """Return one peer's configuration."""
    is_external = peer.remote_asn not in (None, peer.local_asn)
    return PeerConfig(
        name=peer.name,
        remote=peer.address,
        local_asn=peer.local_asn,
        remote_asn=peer.remote_asn,
        hold_time_s=peer.hold_time_s,
        keepalive_s=peer.keepalive_s,
        connect_retry_s=peer.connect_retry_s,
        password=peer.password,
        families=tuple(FAMILIES[name] for name in peer.families),
        next_hops=peer.next_hops,
        graceful_restart_s=peer.graceful_restart_s,
        max_prefixes=peer.max_prefixes,
        multihop_ttl=peer.ttl if peer.ttl or not is_external else EBGP_TTL,
        import_filter=peer.import_filter,
        export_filter=peer.export_filter,
        port=peer.port,
        local=peer.source,
    )


def originated(config: SpeakerConfig) -> dict[Network, Attributes]:
    """Return the routes to originate."""
    return {route.prefix: attributes_of(route, config.asn) for route in config.routes}


def attributes_of(route: Announcement, asn: int) -> Attributes:
    """Return one route's attributes; `asn` is who says how much its link carries."""
    share = () if route.weight is None else (link_bandwidth(asn, route.weight * SHARE_BYTES_PER_S),)
    return Attributes(
        next_hop=route.next_hop,
        local_pref=route.local_pref,
        med=route.med,
        communities=tuple(Community(number) for number in route.communities),
        extended_communities=share,
        large_communities=tuple(LargeCommunity(*parts) for parts in route.large_communities),
    )


def bfd_sessions(config: SpeakerConfig) -> dict[Address, SessionConfig]:
    """Return the BFD sessions by the neighbour's address."""
    return {
        neighbour.address: SessionConfig(
            neighbour.source, neighbour.interval_ms * 1000, neighbour.multiplier
        )
        for neighbour in config.bfd
    }
