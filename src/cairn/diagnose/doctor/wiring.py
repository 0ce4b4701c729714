"""What the data plane's maps hold of addresses and pods, against what it should be.

    Facts  ->  findings of area 4

Invariants  Needs no agent: the maps are read by whoever reports.
"""

from collections.abc import Iterable, Mapping

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.doctor.data_plane import agent_pods
from cairn.diagnose.facts import Facts, NodeReport
from cairn.kube.load_balancer import load_balancer_of
from cairn.kube.metadata import Object, key_of
from cairn.kube.service import Service
from cairn.net import Address, parse_address

TOLD = 5
HOST = {4: "/32", 6: "/128"}


def check_vips(facts: Facts, bench: Bench) -> None:
    """Every address that is announced or held by a Service is in each node's map of addresses."""
    pods = agent_pods(facts)
    held = dict(_held(facts))
    for node, report in facts.nodes.items():
        if report.vips is None:
            continue
        known = set(report.vips)
        announced = {p: p for p in _announced(report)}
        wanted = {**{a: f"held by Service {s}" for a, s in held.items()},
                  **dict.fromkeys(announced, "announced by its speaker")}  # fmt: skip
        bench.looked(len(wanted))
        lacks = [f"{address}, {why}" for address, why in sorted(wanted.items())
                 if address not in known]  # fmt: skip
        _tell("VipDrift", node, "lacks in its map of addresses: ", lacks, pods, bench)


def _tell(
    kind: str, node: str, what: str, lines: list[str], pods: Mapping[str, str], bench: Bench
) -> None:
    if lines:
        told = "; ".join(lines[:TOLD]) + (f"; {len(lines)} in all" if len(lines) > TOLD else "")
        values = {"node": node, "what": what + told, "pod": pods.get(node, "<pod>")}
        bench.found(kind, f"node {node}", *lines[:TOLD], **values)


def _held(facts: Facts) -> Iterable[tuple[str, str]]:
    for raw in facts.cluster.of("Service"):
        service = Service.from_object(raw)
        if not load_balancer_of(raw).foreign and service.ports:
            yield from ((str(address), str(service.key)) for address in service.load_balancer_ips)


def _announced(report: NodeReport) -> Iterable[str]:
    for route in report.speaker.announced:
        address, slash, length = route.prefix.partition("/")
        if slash + length == HOST[6 if ":" in address else 4]:
            yield address


def check_pods_wired(facts: Facts, bench: Bench) -> None:
    """The map of pods holds the pods that are there, and no other."""
    pods = agent_pods(facts)
    placed = _placed(facts.cluster.of("Pod"))
    for node, report in facts.nodes.items():
        if report.wired is None:
            continue
        known = {_parsed(address) for address in report.wired}
        recorded = {_parsed(a): pod.pod for pod in report.endpoints for a in pod.addresses}
        there = {a: name for a, name in placed.get(node, {}).items() if a not in recorded}
        bench.looked(len(recorded) + len(there))
        lines = [
            *(f"the map lacks pod {pod} ({a})" for a, pod in recorded.items() if a not in known),
            *(f"nobody wired pod {name} ({a})" for a, name in there.items() if a not in known),
            *(f"{a} is in the map, and no pod has it" for a in known - recorded.keys()
              if a not in there),
        ]  # fmt: skip
        _tell("EndpointDrift", node, "and its map of pods do not agree: ", sorted(lines),
              pods, bench)  # fmt: skip


def _placed(pods: Iterable[Object]) -> dict[str, dict[Address, str]]:
    """Return the addresses of pods that run in networks of their own, by node."""
    found: dict[str, dict[Address, str]] = {}
    for pod in pods:
        spec, status = pod.get("spec") or {}, pod.get("status") or {}
        gone = (pod.get("metadata") or {}).get("deletionTimestamp")
        if spec.get("hostNetwork") or status.get("phase") != "Running" or gone:
            continue
        listed = [one.get("ip") for one in status.get("podIPs") or ()] or [status.get("podIP")]
        own = found.setdefault(str(spec.get("nodeName")), {})
        own |= {_parsed(str(a)): str(key_of(pod)) for a in listed if a}
    return found


def _parsed(text: str) -> Address:
    return parse_address(text.partition("/")[0])


def check_proofs(facts: Facts, bench: Bench) -> None:
    """Every node that has ready backends of a Service could prove that it serves them."""
    pods = agent_pods(facts)
    for node, report in facts.nodes.items():
        bench.looked()
        for service, reason in report.agent.unproven.items():
            values = {"node": node, "service": service, "pod": pods.get(node, "<pod>")}
            bench.found("NotProven", f"service {service}", reason=reason, **values)
