"""Compile what this node's speaker should do: whom to peer with, which addresses to announce.

    NodeConfig, Services with their endpoints, NodeFacts  ->  desired.routes.SpeakerConfig

An address is announced while some Service that holds it has a ready backend on this node, so that
the router's next hops are the nodes that answer. The annotation cairn.io/announce=all-nodes lifts
that condition.

Invariants  An address of two Services is announced once, while either wants it.
            A session is retried within seconds, however long the policy's retry time: a shorter
            wait never breaks a router, a longer one only delays what users wait for.
Standards   RFC 4271 s8.1.1 (ConnectRetryTime is a local matter)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cairn.desired.prefix_filter import PrefixFilter, parse_filter
from cairn.desired.routes import (
    IPV4_UNICAST,
    IPV6_UNICAST,
    Announcement,
    PeerSpec,
    SpeakerConfig,
)
from cairn.kube.bgp_node_config import CONNECT_RETRY_LIMIT_S, Instance, NodeConfig, Peer
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.service import Service
from cairn.net import Address, Network, parse_network


@dataclass(frozen=True, slots=True)
class Announced:
    """A Service with what decides about its announcement."""

    service: Service
    """The Service."""
    has_local_backend: bool
    """Whether a ready backend of it lives on this node."""


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
    ipv4 = [address for address in node.internal_ips if address.version == 4]
    if not config.instances:
        return None, ()
    if not ipv4:
        text = f"{node.name} has no IPv4 address to be its BGP identifier: it peers with nobody"
        return None, (text,)
    ignored: list[str] = []
    peers: list[PeerSpec] = []
    prefixes: set[Network] = set()
    for instance in config.instances:
        ignored += instance.invalid
        prefixes |= _prefixes(instance, node, services.values())
        for peer in instance.peers:
            try:
                peers.append(_peer(instance, peer, passwords))
            except ValueError as error:
                ignored.append(f"peer {peer.name}: {error}")
    routes = tuple(Announcement(prefix) for prefix in sorted(prefixes, key=_order))
    speaker = SpeakerConfig(str(ipv4[0]), config.instances[0].asn, tuple(peers), routes)
    return speaker, tuple(ignored)


def _prefixes(instance: Instance, node: NodeFacts, services: Iterable[Announced]) -> set[Network]:
    found: set[Network] = set(node.pod_networks) if instance.export_pod_cidr else set()
    for entry in services:
        if _is_announced(instance, entry):
            found |= {host_network(address) for address in entry.service.load_balancer_ips}
    return found


def _is_announced(instance: Instance, entry: Announced) -> bool:
    service = entry.service
    if instance.services is None or service.type != "LoadBalancer" or service.metadata.deleting:
        return False
    if not (entry.has_local_backend or service.announced_everywhere):
        return False
    return instance.services.matches(selectable(service))


def selectable(service: Service) -> dict[str, str]:
    """Return the labels a serviceSelector sees: the Service's own and its name and namespace."""
    return {
        **service.metadata.labels,
        "io.kubernetes.service.name": service.key.name,
        "io.kubernetes.service.namespace": service.key.namespace,
    }


def host_network(address: Address) -> Network:
    """Return the network that holds `address` alone."""
    return parse_network(f"{address}/{address.max_prefixlen}")


def _peer(instance: Instance, peer: Peer, passwords: Mapping[str, str]) -> PeerSpec:
    password = peer.password
    if peer.password_secret:
        password = passwords.get(peer.password_secret)
        if not password:
            raise ValueError(
                f"Secret {peer.password_secret} in kube-system has no key `password`: create it"
            )
    external = peer.asn != instance.asn
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
        families=(IPV4_UNICAST,) if peer.address.version == 4 else (IPV6_UNICAST,),
        graceful_restart_s=peer.graceful_restart_s,
        max_prefixes=peer.max_prefixes,
        ttl=peer.multihop_ttl if external else None,
        import_filter=_filter(peer.import_filter),
        export_filter=_filter(peer.export_filter),
    )


def _filter(text: str) -> PrefixFilter | None:
    return parse_filter(text) if text else None


def _order(network: Network) -> tuple[int, int, int]:
    return (network.version, int(network.network_address), network.prefixlen)
