"""Whose packets a node drops as they arrive: the deny list, without what would cut the node off.

    CidrGroup of all groups, addresses that the nodes need  ->  DenyList

Pure.

Invariants  A network that holds a node's own address is refused: without it nodes would not reach
            each other, and nobody could take the entry back.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from cairn.kube.cidr_group import DENY, CidrGroup
from cairn.net import Address, Network


@dataclass(frozen=True, slots=True)
class DenyList:
    """The deny list of every node."""

    networks: frozenset[Network]
    """Whose packets are dropped."""
    refused: tuple[str, ...]
    """A line for each network that is not denied though a group says so."""


def compile_deny_list(groups: Iterable[CidrGroup], nodes: Collection[Address]) -> DenyList:
    """Return the networks of all groups that deny."""
    networks: set[Network] = set()
    refused: list[str] = []
    for group in sorted(groups, key=lambda group: group.metadata.key):
        name = f"CiliumCIDRGroup {group.metadata.name}"
        if not group.denies:
            if value := group.metadata.annotations.get(DENY):
                refused.append(f"{name}: {DENY}={value} denies nothing: write {DENY}=true")
            continue
        refused += [f"{name}: not denied: {text}: correct it" for text in group.unreadable]
        for network in group.networks:
            held = sorted(str(address) for address in nodes if address in network)
            if held:
                refused.append(
                    f"{name}: {network} is not denied: it holds the node's address {held[0]}, and "
                    "the cluster would be cut off; list smaller networks"
                )
            else:
                networks.add(network)
    return DenyList(frozenset(networks), tuple(refused))
