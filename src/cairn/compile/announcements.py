"""Compile what this node's speaker should do: whom to peer with, which addresses to announce.

    NodeConfig, Services with their endpoints, NodeFacts  ->  desired.routes.SpeakerConfig

An address is announced while some Service that holds it has a ready backend of the address's
family on this node, so that the router's next hops are the nodes that answer. The annotation
cairn.io/announce=all-nodes lifts that condition. A session over IPv4 carries IPv6 addresses too,
and the other way round if its families say so: the next hop is then the node's own address of that
family.

The annotation cairn.io/weighted=true adds how many ready backends of that family the node has, for
routers that share by it.

Invariants  An address of two Services is announced once, while either wants it.
            Addresses of a family that no session carries are named, with what is missing.
            A node without IPv4 has a BGP identifier made from its name, the same at every start.
            A session is retried within seconds, however long the policy's retry time: a shorter
            wait never breaks a router, a longer one only delays what users wait for.
Standards   RFC 2545 s2, RFC 4271 s8.1.1 (ConnectRetryTime is a local matter), RFC 6286 s2.1
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address
from types import MappingProxyType

from cairn.desired.load_balancer import LbState
from cairn.desired.prefix_filter import PrefixFilter, parse_filter
from cairn.desired.routes import (
    FAMILIES,
    IPV4_UNICAST,
    IPV6_UNICAST,
    Announcement,
    PeerSpec,
    SpeakerConfig,
)
from cairn.kube.bgp_node_config import CONNECT_RETRY_LIMIT_S, Instance, NodeConfig, Peer
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.selector import Selector
from cairn.kube.service import Service
from cairn.net import Address, Network, parse_network

VERSIONS = {IPV4_UNICAST: 4, IPV6_UNICAST: 6}
MAX_PREFIXES_NAMED = 3
EVERY = Selector()
NOWHERE: LbState = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Announced:
    """A Service with what decides about its announcement."""

    service: Service
    """The Service."""
    local_backends: Mapping[int, int]
    """How many ready backends of each IP version live on this node; none: not there."""
    here: LbState = field(default_factory=lambda: NOWHERE)
    """Its frontends for clients outside, each with its backends on this node alone."""
    withheld: Collection[Address] = ()
    """Its addresses that no backend of this node is known to serve."""


def compile_speaker(
    config: NodeConfig,
    node: NodeFacts,
    services: Mapping[Key, Announced],
    passwords: Mapping[str, str],
) -> tuple[SpeakerConfig | None, tuple[str, ...]]:
    """Return the speaker's state, None if the node has no part in BGP, and what is not honoured.

    `passwords` holds the keys of the Secrets that peers refer to, by the Secret's name. A peer
    whose Secret is missing is left out: a session without its password would be an open one.
    """
    if not config.instances:
        return None, ()
    ignored: list[str] = []
    peers: list[PeerSpec] = []
    prefixes: dict[Network, int | None] = {}
    for instance in config.instances:
        ignored += instance.invalid
        prefixes |= _prefixes(instance, node, services.values())
        for peer in instance.peers:
            try:
                peers.append(_peer(instance, peer, node, passwords))
                ignored += [f"peer {peer.name}: {line}" for line in _unserved(peer, node)]
            except ValueError as error:
                ignored.append(f"peer {peer.name}: {error}")
    ordered = sorted(prefixes, key=_order)
    routes = tuple(Announcement(prefix, weight=prefixes[prefix]) for prefix in ordered)
    ignored += _told_to_nobody(prefixes, peers, node)
    speaker = SpeakerConfig(bgp_identifier(node), config.instances[0].asn, tuple(peers), routes)
    return speaker, tuple(ignored)


def bgp_identifier(node: NodeFacts) -> str:
    """Return the node's BGP identifier: its first IPv4 address, or one made from its name."""
    for address in node.internal_ips:
        if address.version == 4:
            return str(address)
    # Routers of old take only what could be a host's address: 1.0.0.0 to 126.255.255.255.
    digest = int.from_bytes(hashlib.sha256(node.name.encode()).digest()[:8], "big")
    return str(IPv4Address((1 << 24) + digest % (126 << 24)))


def own_addresses(node: NodeFacts) -> dict[int, Address]:
    """Return by IP version the address under which routers reach the node."""
    found: dict[int, Address] = {}
    for address in node.internal_ips:
        if not address.is_link_local:
            found.setdefault(address.version, address)
    return found


def served_addresses(
    services: Mapping[Key, Announced], announced: Collection[str]
) -> Iterator[tuple[Key, Address, bool]]:
    """Yield each load-balancer address with a ready backend here, and whether it is announced.

    `announced`: the prefixes that peers were told.
    """
    for key, entry in services.items():
        for address in entry.service.load_balancer_ips:
            if entry.local_backends.get(address.version) and address not in entry.withheld:
                yield key, address, f"{address}/{address.max_prefixlen}" in announced


def _prefixes(
    instance: Instance, node: NodeFacts, services: Iterable[Announced]
) -> dict[Network, int | None]:
    """Return what to announce, with this node's weight where all Services there want one."""
    networks = node.pod_networks if instance.export_pod_cidr else ()
    found: dict[Network, int | None] = dict.fromkeys(networks)
    for entry in services:
        service = entry.service
        if not _is_announced(instance, service):
            continue
        for address in service.load_balancer_ips:
            held_back = address in entry.withheld
            backends = 0 if held_back else entry.local_backends.get(address.version, 0)
            if not backends and not service.announced_everywhere:
                continue
            network = host_network(address)
            before = found.get(network, 0)
            # A node that has none and announces all the same takes the least share there is.
            weight = max(backends, 1) if service.weighted else None
            found[network] = None if None in (before, weight) else (before or 0) + (weight or 0)
    return found


def _is_announced(instance: Instance, service: Service) -> bool:
    if instance.services is None or service.type != "LoadBalancer" or service.metadata.deleting:
        return False
    return instance.services == EVERY or instance.services.matches(selectable(service))


def selectable(service: Service) -> dict[str, str]:
    """Return the labels a serviceSelector sees: the Service's own and its name and namespace."""
    return {
        **service.metadata.labels,
        "io.kubernetes.service.name": service.key.name,
        "io.kubernetes.service.namespace": service.key.namespace,
    }


@lru_cache(maxsize=1 << 15)
def host_network(address: Address) -> Network:
    """Return the network that holds `address` alone."""
    return parse_network(f"{address}/{address.max_prefixlen}")


def _peer(
    instance: Instance, peer: Peer, node: NodeFacts, passwords: Mapping[str, str]
) -> PeerSpec:
    password = peer.password
    if peer.password_secret:
        password = passwords.get(peer.password_secret)
        if not password:
            raise ValueError(
                f"Secret {peer.password_secret} in kube-system has no key `password`: create it"
            )
    external = peer.asn != instance.asn
    own = own_addresses(node)
    families = tuple(name for name in _wanted(peer, own) if VERSIONS.get(name) in own)
    if not families:
        raise ValueError(
            f"none of its families can be exchanged: {'; '.join(_unserved(peer, node))}"
        )
    return PeerSpec(
        name=peer.name,
        address=peer.address,
        remote_asn=peer.asn,
        local_asn=instance.asn,
        port=peer.port,
        hold_time_s=peer.hold_time_s,
        keepalive_s=peer.keepalive_s,
        connect_retry_s=min(peer.connect_retry_s, CONNECT_RETRY_LIMIT_S),
        password=password,
        families=families,
        next_hops=tuple(own[version] for version in sorted(own)),
        graceful_restart_s=peer.graceful_restart_s,
        max_prefixes=peer.max_prefixes,
        ttl=peer.multihop_ttl if external else None,
        import_filter=_filter(peer.import_filter),
        export_filter=_filter(peer.export_filter),
    )


def _wanted(peer: Peer, own: Mapping[int, Address]) -> tuple[str, ...]:
    """Return the families to exchange, as told or else those that fit."""
    if peer.families:
        known = [name for name in FAMILIES if name in peer.families]
        return (*known, *(name for name in peer.families if name not in FAMILIES))
    if peer.address.version == 6:
        return (IPV6_UNICAST,)
    return (IPV4_UNICAST, IPV6_UNICAST) if 6 in own else (IPV4_UNICAST,)


def _unserved(peer: Peer, node: NodeFacts) -> Iterable[str]:
    """Yield why families that the peer should have are not exchanged."""
    own = own_addresses(node)
    for name in _wanted(peer, own):
        version = VERSIONS.get(name)
        if version is None:
            yield f"family {name} is not known here; write {' or '.join(FAMILIES)}"
        elif version not in own:
            yield f"no IPv{version} routes, as {node.name} has no IPv{version} address"


def _told_to_nobody(
    prefixes: Iterable[Network], peers: Sequence[PeerSpec], node: NodeFacts
) -> Iterable[str]:
    """Yield which prefixes no session carries; without sessions that is said elsewhere."""
    for name, version in VERSIONS.items():
        if not peers or any(name in peer.families for peer in peers):
            continue
        lost = sorted((p for p in prefixes if p.version == version), key=_order)
        if not lost:
            continue
        named = ", ".join(map(str, lost[:MAX_PREFIXES_NAMED]))
        more = len(lost) - MAX_PREFIXES_NAMED
        named += f" and {more} more" if more > 0 else ""
        why = f"{node.name} has no IPv{version} address"
        if version in own_addresses(node):
            why = f"no neighbor's families hold IPv{version} unicast"
        yield f"{named}: announced to nobody, as {why}"


def _filter(text: str) -> PrefixFilter | None:
    return parse_filter(text) if text else None


def _order(network: Network) -> tuple[int, int, int]:
    return (network.version, int(network.network_address), network.prefixlen)
