"""Which load-balancer addresses an apply gives, moves and takes.

World before, World after  ->  AddressChange per Service
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cairn.compile.ipam import Verdict, compile_ipam
from cairn.compile.ipam_surroundings import surroundings
from cairn.diagnose.policy.world import World
from cairn.kube.load_balancer import load_balancer_of
from cairn.kube.metadata import Key
from cairn.kube.peering_policy import peering_policy_of
from cairn.kube.pool import pool_of
from cairn.net import Address, parse_address


@dataclass(frozen=True, slots=True)
class AddressChange:
    """One Service whose addresses, or the lack of them, change."""

    service: str
    """Namespace and name."""
    before: tuple[str, ...]
    """Addresses that it holds now."""
    after: tuple[str, ...]
    """Addresses that it would hold."""
    why: str
    """In words: from which pool, or why none."""


def addresses_of(world: World) -> dict[Key, Verdict]:
    """Return what every LoadBalancer Service of a World should hold.

    An address in a subnet of nodes is probed before it is given: here nobody answers the probe.
    """
    services = [load_balancer_of(obj) for obj in world.of_kind("Service")]
    policies = map(peering_policy_of, world.of_kind("CiliumBGPPeeringPolicy"))
    around = surroundings(world.nodes.values(), policies)
    result = compile_ipam(
        map(pool_of, world.of_kind("CiliumLoadBalancerIPPool")),
        services,
        reserved=around.reserved,
        node_networks=around.networks,
    )
    return dict(result.services)


def with_addresses(world: World, verdicts: dict[Key, Verdict]) -> World:
    """Return the World as it is once every Service holds what it should."""
    changed = []
    for obj in world.of_kind("Service"):
        verdict = verdicts.get(load_balancer_of(obj).metadata.key)
        if verdict is None:
            continue
        ingress = [{"ip": address} for address in verdict.addresses]
        status = {**(obj.get("status") or {}), "loadBalancer": {"ingress": ingress}}
        changed.append({**obj, "status": status})
    return world.changed(changed)


def address_changes(
    before: World, verdicts: dict[Key, Verdict], stood: dict[Key, Verdict]
) -> Iterator[AddressChange]:
    """Yield what differs between what Services hold now and the verdicts of afterwards.

    `stood`: the verdicts of before; a Service that waits before and after in the same words is no
    change.
    """
    held = {s.metadata.key: s.held for s in map(load_balancer_of, before.of_kind("Service"))}
    for key in sorted(held.keys() | verdicts.keys()):
        old = tuple(map(str, held.get(key, ())))
        verdict = verdicts.get(key)
        new = verdict.addresses if verdict else ()
        if _as_set(old) != _as_set(new) or _waits_anew(verdict, stood.get(key), new):
            yield AddressChange(str(key), old, new, _why(verdict))


def _as_set(texts: tuple[str, ...]) -> frozenset[Address]:
    return frozenset(map(parse_address, texts))


def _waits_anew(verdict: Verdict | None, stood: Verdict | None, addresses: object) -> bool:
    if addresses or verdict is None or verdict.satisfied:
        return False
    return stood is None or stood.reason != verdict.reason


def _why(verdict: Verdict | None) -> str:
    if verdict is None:
        return "no LoadBalancer Service any more"
    lost = [notice.message for notice in verdict.notices if notice.reason == "AddressReleased"]
    told = verdict.reason.message if verdict.reason else ""
    return "; ".join(filter(None, [*lost, told]))


def settled(world: World) -> tuple[World, dict[Key, Verdict]]:
    """Return a World whose Services hold what they should, and the verdicts that say so."""
    verdicts = addresses_of(world)
    return with_addresses(world, verdicts), verdicts
