"""Services, endpoints and pods: who is ready, who crashes, who has no network.

Facts  ->  findings of area 5
"""

from collections.abc import Mapping

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.ejected import ejections, pods_by_address
from cairn.diagnose.facts import Facts
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Object, key_of, metadata_of

CRASHES = 2
OWN = ("cairn", "cairn-operator")
"""Parts of Cairn: other checks tell of them."""


def check_pods(facts: Facts, bench: Bench) -> None:
    """Pods have a node, a network, images, and containers that stay."""
    for pod in facts.cluster.of("Pod"):
        metadata = metadata_of(pod)
        if metadata.labels.get("k8s-app") in OWN or pod["metadata"].get("deletionTimestamp"):
            continue
        status = pod.get("status") or {}
        if status.get("phase") == "Succeeded":
            continue
        bench.looked()
        key = key_of(pod)
        subject, values = f"pod {key}", {"namespace": key.namespace, "pod": key.name}
        if _scheduled(status):
            bench.found("Unschedulable", subject, reason=_scheduled(status), **values)
            continue
        told = [_container(one, subject, values, bench) for one in _statuses(status)]
        if any(told):
            continue
        if not status.get("podIP"):
            node = (pod.get("spec") or {}).get("nodeName") or "no node"
            why = _not_ready(status) or "its network was not made"
            bench.found("PodWithoutNetwork", subject, node=node, reason=why, **values)
        elif status.get("phase") == "Running" and _not_ready(status):
            bench.found("PodNotReady", subject, reason=_not_ready(status), **values)


def _statuses(status: Object) -> list[Object]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _scheduled(status: Object) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "no reason given")
    return ""


def _not_ready(status: Object) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "no reason given")
    return ""


def _container(status: Object, subject: str, values: Mapping[str, str], bench: Bench) -> bool:
    waiting = (status.get("state") or {}).get("waiting") or {}
    ended = (status.get("lastState") or {}).get("terminated") or {}
    ended = ended or (status.get("state") or {}).get("terminated") or {}
    reason, restarts = str(waiting.get("reason") or ""), int(status.get("restartCount") or 0)
    name = str(status.get("name"))
    if "Image" in reason:
        why = f"{reason}: {waiting.get('message') or ''}".rstrip(": ")
        bench.found("ImageMissing", subject, container=name, reason=why, **values)
        return True
    if reason == "CrashLoopBackOff" or (restarts >= CRASHES and not status.get("ready")):
        why = f"it ended with status {ended.get('exitCode', '?')}"
        if ended.get("message"):
            why += ", " + " ".join(str(ended["message"]).split())[-200:]
        bench.found("CrashLoop", subject, container=name, restarts=restarts, reason=why, **values)
        return True
    return False


def check_services(facts: Facts, bench: Bench) -> None:
    """Every Service with a selector has pods, ready ones."""
    slices: dict[object, list[EndpointSlice]] = {}
    for raw in facts.cluster.of("EndpointSlice"):
        part = EndpointSlice.from_object(raw)
        slices.setdefault(part.service, []).append(part)
    for raw in facts.cluster.of("Service"):
        key, selector = key_of(raw), (raw.get("spec") or {}).get("selector") or {}
        if not selector:
            continue
        bench.looked()
        pods = _selected(facts, key.namespace, selector)
        subject = f"service {key}"
        values = {"namespace": key.namespace, "service": key.name}
        spelt = ",".join(f"{k}={v}" for k, v in selector.items())
        if not pods:
            bench.found("NoPodMatches", subject, selector=spelt, **values)
            continue
        if _port_missing(raw, pods, subject, values, bench):
            continue
        states = [s for part in slices.get(key, ()) for _, s in part.endpoints]
        if not any(state.ready for state in states):
            first = pods[0]
            why = _not_ready(first.get("status") or {}) or "its endpoints are not published"
            bench.found(
                "NoReadyPod", subject, count=len(pods), reason=why, pod=key_of(first).name, **values
            )


def _selected(facts: Facts, namespace: str, selector: Mapping[str, str]) -> list[Object]:
    return [
        pod
        for pod in facts.cluster.of("Pod")
        if key_of(pod).namespace == namespace
        and selector.items() <= metadata_of(pod).labels.items()
        and not pod["metadata"].get("deletionTimestamp")
    ]


def _port_missing(
    raw: Object, pods: list[Object], subject: str, values: Mapping[str, str], bench: Bench
) -> bool:
    """Tell of ports that no container of the pods names or declares."""
    declared = [
        port
        for pod in pods
        for container in (pod.get("spec") or {}).get("containers") or ()
        for port in container.get("ports") or ()
    ]
    names = {str(port.get("name")) for port in declared if port.get("name")}
    numbers = {int(port.get("containerPort") or 0) for port in declared}
    for port in (raw.get("spec") or {}).get("ports") or ():
        target = port.get("targetPort", port.get("port"))
        if isinstance(target, str) and not target.isdecimal():
            if target not in names:
                pod = key_of(pods[0]).name
                bench.found("PortNameUnknown", subject, port=target, pods=f"pod {pod}", **values)
                return True
        elif numbers and int(target or 0) not in numbers:
            right = ", ".join(map(str, sorted(numbers)))
            why = f"their containers declare {right}"
            bench.found("WrongTargetPort", subject, port=target, reason=why, right=right, **values)
            return True
    return False


def check_backends(facts: Facts, bench: Bench) -> None:
    """Backends serve, as their nodes' own checks find."""
    slices = facts.cluster.of("EndpointSlice")
    parts = [EndpointSlice.from_object(raw) for raw in slices]
    bench.looked(sum(1 for part in parts for _ in part.endpoints))
    for one in ejections(facts.cluster.of("CiliumNode"), parts, pods_by_address(slices)):
        namespace, _, name = one.pod.partition("/")
        bench.found(
            "BackendDead",
            f"service {one.service}",
            f"{one.node} found so",
            pod=f"pod {one.pod}" if one.pod else "a backend",
            where=one.where,
            reason=one.reason,
            namespace=namespace,
            name=name,
        )
