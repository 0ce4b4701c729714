"""Which addresses which nodes would announce, and to whom.

World  ->  Announcing;  two of them  ->  AnnouncementChange, SessionChange

Invariants  A Service whose pods do not exist yet is announced by nobody now: what its pods' nodes
            will announce is said in words.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cairn.compile.announcements import Announced, compile_speaker, host_network
from cairn.compile.bgp_nodes import checked, compile_bgp_nodes
from cairn.compile.services import compile_service
from cairn.desired.load_balancer import LbState
from cairn.diagnose.policy.world import Name, World
from cairn.diagnose.why.objects import is_ready, node_of, pods_of_service
from cairn.kube.bgp_node_config import NodeConfig
from cairn.kube.metadata import Key
from cairn.kube.node import Node, NodeFacts
from cairn.kube.peering_policy import peering_policy_of
from cairn.kube.selector import parse_selector
from cairn.kube.service import Service


@dataclass(frozen=True, slots=True)
class Announcing:
    """What a World's nodes do in BGP."""

    prefixes: Mapping[str, frozenset[str]]
    """Nodes that announce each prefix."""
    sessions: Mapping[str, frozenset[str]]
    """Neighbors of each node, with their AS."""
    ignored: Mapping[str, tuple[str, ...]]
    """What is not honoured, by node."""


@dataclass(frozen=True, slots=True)
class AnnouncementChange:
    """One prefix whose next hops change."""

    prefix: str
    """As a router would see it."""
    before: tuple[str, ...]
    """Nodes that announce it now."""
    after: tuple[str, ...]
    """Nodes that would."""
    why: str = ""
    """What the numbers do not say."""


@dataclass(frozen=True, slots=True)
class SessionChange:
    """One node whose sessions change."""

    node: str
    """Its name."""
    before: tuple[str, ...]
    """Neighbors now."""
    after: tuple[str, ...]
    """Neighbors then."""


def announcing(world: World) -> Announcing:
    """Return what each node announces, and to whom."""
    policies = [checked(peering_policy_of(obj)) for obj in world.of_kind("CiliumBGPPeeringPolicy")]
    nodes = list(world.nodes.values())
    plan = compile_bgp_nodes(policies, nodes)
    states = {key: compile_service(s, world.slices.get(key, ())) for key, s in _services(world)}
    prefixes: dict[str, set[str]] = defaultdict(set)
    sessions: dict[str, frozenset[str]] = {}
    ignored: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        config = plan.configs.get(node.name)
        if config is None:
            continue
        spec = {"metadata": {"name": node.name}, "spec": config.spec}
        found = NodeConfig.from_object(spec)
        facts = NodeFacts(node.name, node.internal_ips, node.pod_networks, "")
        local = {key: _announced(world.services[key], states[key], node) for key in states}
        speaker, lines = compile_speaker(found, facts, local, _secrets(found))
        if lines:
            ignored[node.name] = lines
        if speaker is not None:
            sessions[node.name] = frozenset(
                f"{p.address} AS{p.remote_asn or p.local_asn}" for p in speaker.peers
            )
            for route in speaker.routes:
                prefixes[str(route.prefix)].add(node.name)
    return Announcing({p: frozenset(n) for p, n in prefixes.items()}, sessions, ignored)


def _secrets(config: NodeConfig) -> dict[str, str]:
    """Return a stand-in for each Secret: a plan tells who is peered with, and reads no password."""
    peers = (peer for instance in config.instances for peer in instance.peers)
    return {peer.password_secret: "-" for peer in peers if peer.password_secret}


def announcement_changes(
    before: Announcing, after: Announcing, future: Mapping[str, str]
) -> Iterator[AnnouncementChange]:
    """Yield the prefixes whose nodes differ; `future`: what will be announced later, and when."""
    for prefix in sorted(before.prefixes.keys() | after.prefixes.keys() | future.keys()):
        old = before.prefixes.get(prefix, frozenset())
        new = after.prefixes.get(prefix, frozenset())
        if old != new or (not new and prefix in future):
            why = "" if new else future.get(prefix, "")
            yield AnnouncementChange(prefix, tuple(sorted(old)), tuple(sorted(new)), why)


def session_changes(before: Announcing, after: Announcing) -> Iterator[SessionChange]:
    """Yield the nodes whose neighbors differ."""
    for node in sorted(before.sessions.keys() | after.sessions.keys()):
        old = before.sessions.get(node, frozenset())
        new = after.sessions.get(node, frozenset())
        if old != new:
            yield SessionChange(node, tuple(sorted(old)), tuple(sorted(new)))


def announced_later(before: World, after: World) -> dict[str, str]:
    """Return the prefixes of new addresses that wait for pods, and what they wait for."""
    found: dict[str, str] = {}
    for key, service in _services(after):
        if any(part.addresses for part in after.slices.get(key, ())):
            continue
        known = before.services.get(key)
        for address in service.load_balancer_ips:
            if known is not None and address in known.load_balancer_ips:
                continue
            found[str(host_network(address))] = _wait(after, service)
    return found


def _wait(world: World, service: Service) -> str:
    labels = (world.objects[Name("Service", *service.key)].get("spec") or {}).get("selector")
    if not labels:
        return "nobody: the Service selects no pods"
    selector = parse_selector({"matchLabels": labels})
    owners = {
        pod.owner
        for pod in world.pods.values()
        if pod.key.namespace == service.key.namespace and selector.matches(pod.workload.labels)
    }
    if not owners:
        return f"nobody: no pod and no workload's template has the labels {selector}"
    if nodes := {node_of(pod) for pod in pods_of_service(world, service) if is_ready(pod)}:
        return f"by {', '.join(sorted(nodes))}, where its pods are ready, once it is there"
    return f"once pods of {', '.join(sorted(owners))} are ready, by the nodes that have them"


def _services(world: World) -> Iterable[tuple[Key, Service]]:
    return ((k, s) for k, s in sorted(world.services.items()) if s.type == "LoadBalancer")


def _announced(service: Service, state: LbState, node: Node) -> Announced:
    here = {
        backend.address.address
        for frontend in state.values()
        for backend in frontend.active
        if backend.node == node.name
    }
    counts: dict[int, int] = defaultdict(int)
    for address in here:
        counts[address.version] += 1
    return Announced(service, counts)
