"""Groups: everyone of one kind, as far as any policy can tell.

    labels, named ports, networks, natures  ->  Group, whose number is an identity

Invariants  A group never changes but for its number: what becomes different becomes another group.
Standards   The numbers below 256, and the labels of those groups, are Hubble's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TypeVar

from cairn.abi.structs import Identity
from cairn.kube.policy.rule import (
    RESERVED,
    CidrPeer,
    EntityPeer,
    FqdnPeer,
    LabelPeer,
    NodePeer,
)
from cairn.kube.policy.workload import NamedPort
from cairn.kube.selector import Selector
from cairn.net import Address, Network, parse_network

FIRST_POD, FIRST_NETWORK, FIRST_NAME, END = 256, 1 << 24, 1 << 25, 1 << 26

CLUSTER, WORLD, HOST = "cluster", "world", "host"
REMOTE_NODE, KUBE_APISERVER = "remote-node", "kube-apiserver"
WHOLE_WORLD = {4: parse_network("0.0.0.0/0"), 6: parse_network("::/0")}
WORLD_NUMBER = {4: int(Identity.WORLD_IPV4), 6: int(Identity.WORLD_IPV6)}


@dataclass(frozen=True, slots=True)
class PortNamePeer:
    """Pods that have a port of this name: what a rule for everyone can mean by it."""

    name: str
    """Name of a container port."""


Atom = LabelPeer | EntityPeer | CidrPeer | NodePeer | FqdnPeer | PortNamePeer
"""A peer that needs no other object to be understood."""
AtomT = TypeVar("AtomT", bound=Atom)


@dataclass(eq=False, slots=True)
class Group:
    """Everyone whom policies cannot tell apart."""

    number: int
    """Its identity."""
    labels: Mapping[str, str]
    """Flat labels of pods; `reserved:` labels of others."""
    natures: frozenset[str]
    """Entities that it belongs to."""
    is_pod: bool = False
    """Whether it is of pods."""
    ports: tuple[NamedPort, ...] = ()
    """Named ports of the pods."""
    inside: frozenset[CidrPeer] = frozenset()
    """Networks that mean pods and nodes too, and mean these."""
    network: Network | None = None
    """Outside the cluster: the longest network that is named and holds them."""
    nodes: frozenset[Selector] = frozenset()
    """Selectors of nodes that mean these."""
    name: FqdnPeer | None = None
    """The names that it stands for."""
    is_network: bool = False
    """Whether it is just what `network` holds."""
    users: int = 0
    """How many addresses have it."""


def world_natures(family: int) -> frozenset[str]:
    """Return the natures of an address outside the cluster."""
    return frozenset({WORLD, f"{WORLD}-ipv{family}"})


def reserved_labels(natures: frozenset[str]) -> dict[str, str]:
    """Return the labels by which selectors can name a group that is not of pods."""
    return {f"{RESERVED}{nature}": "" for nature in sorted(natures) if nature != CLUSTER}


def names_reserved(selector: Selector) -> bool:
    """Return whether a selector means reserved groups too."""
    return any(r.key.startswith(RESERVED) for r in selector.requirements)


def covers(network: Network, other: Network) -> bool:
    """Return whether all of `other` lies in `network`."""
    if network.version != other.version or network.prefixlen > other.prefixlen:
        return False
    spare = other.max_prefixlen - network.prefixlen
    return int(network.network_address) >> spare == int(other.network_address) >> spare


def holds(peer: CidrPeer, network: Network) -> bool:
    """Return whether a peer means all of `network`, which its exceptions do not cut in parts."""
    if not covers(peer.network, network):
        return False
    return not any(covers(part, network) for part in peer.excepts)


def host_network(address: Address) -> Network:
    """Return the network of one address."""
    return IPv4Network(address) if isinstance(address, IPv4Address) else IPv6Network(address)


def matches(atom: Atom, group: Group) -> bool:
    """Return whether a peer means a group: the definition, which the indexes only speed up."""
    match atom:
        case LabelPeer(selector):
            if group.name is not None or not (group.is_pod or names_reserved(selector)):
                return False
            return selector.matches(group.labels)
        case EntityPeer(entity):
            return entity in group.natures
        case CidrPeer():
            if group.network is not None and holds(atom, group.network):
                return True
            return atom in group.inside
        case NodePeer(selector):
            return selector in group.nodes
        case FqdnPeer():
            return group.name == atom
        case PortNamePeer(name):
            return any(port.name == name for port in group.ports)
