"""Whom a policy cuts off from what every pod needs: the cluster's DNS, the API server.

Policy, World  ->  Found

Invariants  The verdicts are the Engine's, with all policies of the World in force. A policy that
            selects no pod yet is judged by a pod that it would select.
"""

from collections.abc import Iterator

from cairn.diagnose.lint.found import Found, Weight, of
from cairn.diagnose.policy.end import End
from cairn.diagnose.policy.ends import entity, pod_end
from cairn.diagnose.policy.essentials import DNS_PORTS, dns_ends
from cairn.diagnose.policy.miss import Place
from cairn.diagnose.policy.near import Question
from cairn.diagnose.policy.pod import would_be_pod
from cairn.diagnose.policy.trace import verdict_of
from cairn.diagnose.policy.world import World
from cairn.kube.policy.rule import NAMESPACE, RESERVED, Direction, Policy
from cairn.kube.selector import Operator, Selector
from cairn.net import Protocol

API_PORTS = (443, 6443)
MOST_NAMED = 3


def find(policy: Policy, world: World) -> Iterator[Found]:
    """Yield what the pods of a policy are cut off from because of it."""
    if not policy.guarded and policy.nodes is not None:
        yield of(
            policy.ref,
            "HostGuardOff",
            Weight.WARNING,
            "metadata.annotations",
            "cairn.io/host-guard: off lets this policy cut the nodes off from the API server, "
            "from BGP and from your own session; remove it unless a console is at hand",
        )
    if policy.subject is None or policy.disabled or policy.audit:
        return
    if Direction.EGRESS not in policy.isolates and not _denies(policy):
        return
    subjects = subjects_of(policy.subject, world)
    cut = [end for end in subjects if _without_dns(world, end)]
    if cut:
        yield of(
            policy.ref,
            "DnsDenied",
            Weight.ERROR,
            "spec.egress",
            f"{_named(cut)} cannot ask the cluster DNS any more, so no name resolves: allow "
            "egress to kube-dns in kube-system at port 53, UDP and TCP",
        )
    shut = [end for end in subjects if _without_api(world, end)]
    if shut:
        yield of(
            policy.ref,
            "ApiServerDenied",
            Weight.NOTE,
            "spec.egress",
            f"{_named(shut)} cannot reach the API server: right for most workloads; whoever "
            f"talks to Kubernetes needs {_api_rule(policy)}; kubelet probes always pass",
        )


def _api_rule(policy: Policy) -> str:
    if policy.ref.kind.startswith("Cilium"):
        return "toEntities: [kube-apiserver]"
    return "an ipBlock with the API server's address"


def _denies(policy: Policy) -> bool:
    return any(
        rule.direction is Direction.EGRESS and rule.action.value == "deny" for rule in policy.rules
    )


def _without_dns(world: World, end: End) -> bool:
    places = [Place(protocol, port) for protocol, port in DNS_PORTS[:1]]
    return not any(
        _passes(world, end, server, place) for server in dns_ends(world) for place in places
    )


def _without_api(world: World, end: End) -> bool:
    server = entity("kube-apiserver")
    places = [Place(Protocol.TCP, port) for port in API_PORTS]
    return not any(_passes(world, end, server, place) for place in places)


def _passes(world: World, end: End, server: End, place: Place) -> bool:
    verdict = verdict_of(world, Question(end, server, place, Direction.EGRESS))
    return verdict is None or verdict.allows


def _named(ends: list[End]) -> str:
    shown = ", ".join(end.text for end in ends[:MOST_NAMED])
    more = len(ends) - MOST_NAMED
    return shown + (f" and {more} more" if more > 0 else "")


def subjects_of(selector: Selector, world: World) -> list[End]:
    """Return one pod of each identity that a selector selects, or one that it would select."""
    found: dict[int, End] = {}
    for pod in world.pods.values():
        if pod.workload.host_network:
            continue
        end = pod_end(world, pod)
        if end.identity not in found and selector.matches(end.labels):
            found[end.identity] = end
    if found:
        return list(found.values())
    would_be = _would_be(selector, world)
    return [would_be] if would_be else []


def _would_be(selector: Selector, world: World) -> End | None:
    labels: dict[str, str] = {}
    namespace = "default"
    for requirement in selector.requirements:
        if requirement.key.startswith(RESERVED):
            return None
        if requirement.key == NAMESPACE and requirement.operator is Operator.IN:
            namespace = min(requirement.values)
        elif requirement.operator is Operator.IN:
            labels[requirement.key] = min(requirement.values)
        elif requirement.operator is Operator.EXISTS:
            labels[requirement.key] = "any"
    pod = would_be_pod(namespace, "a pod that it would select", labels)
    world.engine.put_pod(pod.workload)
    end = pod_end(world, pod)
    return end if selector.matches(end.labels) else None
