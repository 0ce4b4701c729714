"""What a cluster comes to once everyone has done their part: addresses, announcements, proxies.

    World  ->  Settled

Invariants  Compiled by what the operator and the agents use themselves (compile.ipam,
            compile.bgp_nodes, compile.announcements), so it cannot drift from them.
Not here    What probes find: an address that a stranger holds is skipped by the operator alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cairn.compile.announcements import Announced, compile_speaker
from cairn.compile.bgp_nodes import checked, compile_bgp_nodes
from cairn.compile.ipam import IpamResult, compile_ipam
from cairn.diagnose.policy.world import Name, World
from cairn.kube.bgp_node_config import NodeConfig
from cairn.kube.load_balancer import LoadBalancer, load_balancer_of
from cairn.kube.metadata import Key, Object, key_of
from cairn.kube.node import Node, NodeFacts
from cairn.kube.peering_policy import PeeringPolicy, peering_policy_of
from cairn.kube.pool import Pool, pool_of
from cairn.kube.service import Service
from cairn.net import Address

Speakers = Mapping[str, frozenset[str]]
"""Per prefix: "node to peer" of every announcement."""
_READ_ERRORS = (AttributeError, KeyError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Settled:
    """The state that a World comes to."""

    addresses: Mapping[Key, tuple[str, ...]]
    """Addresses of every Service of type LoadBalancer."""
    pending: Mapping[Key, str]
    """Why a Service has less than it asks for."""
    announced: Speakers
    """Who tells whom of which address."""
    proxied: frozenset[tuple[str, str]]
    """Policies that send connections through a proxy, and which one."""
    unread: Mapping[str, str]
    """Objects that cannot be read or mean nothing, and why."""


def settle(world: World) -> Settled:
    """Return what a World comes to."""
    unread: dict[str, str] = {}
    pools = [p for o in world.of_kind("CiliumLoadBalancerIPPool") if (p := _pool(o, unread))]
    services = [s for o in world.of_kind("Service") if (s := _balancer(o, unread))]
    policies = (_peering(obj, unread) for obj in world.of_kind("CiliumBGPPeeringPolicy"))
    peerings = [policy for policy in policies if policy]
    result = compile_ipam(pools, services, reserved=_reserved(world, peerings))
    return Settled(
        {key: verdict.addresses for key, verdict in result.services.items()},
        _pending(result),
        _announced(world, peerings, result, unread),
        frozenset(_proxied(world)),
        unread | {str(ref): f"{e.path}: {e.reason}" for ref, e in world.invalid.items()},
    )


def _pending(result: IpamResult) -> dict[Key, str]:
    return {
        key: verdict.reason.message
        for key, verdict in result.services.items()
        if verdict.reason is not None and not verdict.satisfied
    }


def _named(obj: Object) -> str:
    return "/".join(part for part in (str(obj.get("kind")), *key_of(obj)) if part)


def _pool(obj: Object, unread: dict[str, str]) -> Pool | None:
    try:
        pool = pool_of(obj)
    except _READ_ERRORS as error:
        unread[_named(obj)] = f"it cannot be read: {error}"
        return None
    if not pool.blocks:
        texts = [finding.message for finding in pool.findings] or ["it has no addresses"]
        unread[_named(obj)] = texts[0]
    return pool


def _balancer(obj: Object, unread: dict[str, str]) -> LoadBalancer | None:
    try:
        return load_balancer_of(obj)
    except _READ_ERRORS as error:
        unread[_named(obj)] = f"it cannot be read: {error}"
        return None


def _peering(obj: Object, unread: dict[str, str]) -> PeeringPolicy | None:
    try:
        policy = checked(peering_policy_of(obj))
    except _READ_ERRORS as error:
        unread[_named(obj)] = f"it cannot be read: {error}"
        return None
    bad = [f.message for f in policy.findings if f.reason.startswith("Invalid")]
    if bad:
        unread[_named(obj)] = bad[0]
    return policy


def _reserved(world: World, peerings: Iterable[PeeringPolicy]) -> dict[Address, str]:
    found = {a: f"node {node.name}" for node in world.nodes.values() for a in node.internal_ips}
    for policy in peerings:
        for router in policy.routers:
            for neighbor in router.neighbors:
                found[neighbor.address] = f"BGP neighbor of policy {policy.name}"
    return found


def _announced(
    world: World, peerings: list[PeeringPolicy], result: IpamResult, unread: dict[str, str]
) -> Speakers:
    nodes = list(world.nodes.values())
    bgp = compile_bgp_nodes(peerings, nodes)
    for name, reach in bgp.policies.items():
        if reach.nothing:
            unread[f"CiliumBGPPeeringPolicy/{name}"] = reach.nothing
    held = _held(world, result)
    found: dict[str, set[str]] = {}
    for node in nodes:
        if node.name not in bgp.configs:
            continue
        config = NodeConfig.from_object({"spec": bgp.configs[node.name].spec})
        here = {key: Announced(one, _backends(world, one, node.name)) for key, one in held.items()}
        # A Secret that is named is taken to be there: its value decides about no announcement.
        secrets = {p.password_secret: "*" for i in config.instances for p in i.peers}
        speaker, _ = compile_speaker(config, _facts(node), here, secrets)
        if speaker is None:
            continue
        for route in speaker.routes:
            tellings = {f"{node.name} to {peer.address}" for peer in speaker.peers}
            found.setdefault(str(route.prefix), set()).update(tellings)
    return {prefix: frozenset(tellings) for prefix, tellings in found.items()}


def _facts(node: Node) -> NodeFacts:
    return NodeFacts(node.name, node.internal_ips, (), "")


def _held(world: World, result: IpamResult) -> dict[Key, Service]:
    """Return the Services with the addresses that they come to have."""
    found = {}
    for obj in world.of_kind("Service"):
        verdict = result.services.get(key_of(obj))
        if verdict is not None:
            ingress = [{"ip": address} for address in verdict.addresses]
            status = {**(obj.get("status") or {}), "loadBalancer": {"ingress": ingress}}
            found[key_of(obj)] = Service.from_object({**obj, "status": status})
    return found


def _backends(world: World, service: Service, node: str) -> dict[int, int]:
    """Return how many ready backends a Service has on a node, by IP version."""
    found: dict[int, int] = {}
    for part in world.slices.get(service.key, ()):
        for address, state in part.endpoints:
            if state.ready and state.node == node:
                found[address.version] = found.get(address.version, 0) + 1
    if service.key not in world.slices:
        for address in _selected(world, service, node):
            found[address.version] = found.get(address.version, 0) + 1
    return found


def _selected(world: World, service: Service, node: str) -> Iterator[Address]:
    """Yield the pods' addresses that a Service will have, which nobody has looked at yet."""
    raw = world.objects[Name("Service", *service.key)]
    wanted = ((raw.get("spec") or {}).get("selector") or {}).items()
    for pod in world.pods.values():
        labels = pod.workload.labels
        if (
            wanted
            and pod.key.namespace == service.key.namespace
            and _node_of(world, pod.key) == node
            and all(labels.get(key) == value for key, value in wanted)
        ):
            yield from pod.workload.addresses


def _node_of(world: World, pod: Key) -> str:
    raw = world.objects.get(Name("Pod", *pod)) or {}
    return str((raw.get("spec") or {}).get("nodeName") or "")


def _proxied(world: World) -> Iterator[tuple[str, str]]:
    for ref, policy in world.policies.items():
        for rule in policy.rules if not policy.disabled else ():
            if rule.http is not None:
                yield str(ref), "HTTP requests pass Envoy"
            if rule.dns is not None:
                yield str(ref), "DNS queries pass the DNS proxy"
            if rule.server_names:
                yield str(ref), "TLS server names are read by Envoy"
