"""Cairn itself: agents, containers, operator, versions, disks, events.

Facts  ->  findings of area 9
"""

import re
from collections import Counter, defaultdict
from datetime import datetime

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.doctor.certificates import spell_time
from cairn.diagnose.facts import Facts
from cairn.kube.metadata import Object, key_of, metadata_of

SILENT_S = 5.0
APPS = ("cairn", "cairn-operator", "hubble-relay")
OFTEN, LATELY_S = 3, 3600.0
FULL, NEARLY = 0.02, 0.10
MB = 20


def check_agents(facts: Facts, bench: Bench) -> None:
    """Every node has an agent that runs, answers, reconciles, and hears the API server."""
    pods = {str((p.get("spec") or {}).get("nodeName")): p for p in pods_of(facts, "cairn")}
    for raw in facts.cluster.of("Node"):
        name = key_of(raw).name
        bench.looked()
        pod = pods.get(name)
        if pod is None:
            why = "no pod of DaemonSet kube-system/cairn is on it"
            bench.found("AgentMissing", f"node {name}", node=name, reason=why)
            continue
        told = _containers(name, pod, bench)
        values = {"node": name, "pod": key_of(pod).name}
        report = facts.nodes.get(name)
        if report is None:
            why = facts.unasked.get(name, "it was not asked")
            if not told:
                bench.found("NodeUnasked", f"node {name}", reason=why, **values)
            continue
        agent = report.agent
        if agent.error:
            if "agent" not in told:
                bench.found("AgentSilent", f"node {name}", reason=agent.error, **values)
            continue
        silent = [w for w in agent.watches if w.heard_s is None or w.heard_s > SILENT_S]
        if silent:
            longest = max((w.heard_s or 0 for w in silent), default=0)
            bench.found(
                "ApiPartition",
                f"node {name}",
                *(f"{w.resource}: {w.error}" for w in silent[:3]),
                age=f"{longest:.0f} s",
                reason=silent[0].error,
                api=_host(silent[0].error) or _host(facts.cluster.server),
                **values,
            )
        if not agent.healthy and agent.reason:
            bench.found("NotReconciling", f"node {name}", reason=agent.reason, **values)
        for what, lines in agent.failures.items():
            if lines:
                first = lines[0]
                bench.found(
                    "WritesFail", f"node {name}", *lines[:3], what=what, reason=first, **values
                )


def _host(text: str) -> str:
    """Return the host of the first URL in a text."""
    found = re.search(r"https?://(\[[^]]+\]|[^:/\s]+)", text)
    return found[1].strip("[]") if found else ""


def pods_of(facts: Facts, app: str) -> list[Object]:
    """Return the pods of a part of Cairn that are to stay."""
    return [
        pod
        for pod in facts.cluster.of("Pod")
        if metadata_of(pod).labels.get("k8s-app") == app
        and not (pod.get("metadata") or {}).get("deletionTimestamp")
    ]


def _containers(node: str, pod: Object, bench: Bench) -> set[str]:
    """Tell of containers that do not run; return their names."""
    told = set()
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        state, name = status.get("state") or {}, str(status.get("name"))
        bench.looked()
        if state.get("running") is not None or not state:
            continue
        why = _why(status)
        kind = "AgentDown" if name == "agent" else "ContainerDown"
        values = {"node": node, "pod": key_of(pod).name, "container": name}
        bench.found(kind, f"node {node}", f"{name}: {why}", reason=why, **values)
        told.add(name)
    return told


def _why(status: Object) -> str:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    now = state.get("waiting") or state.get("terminated") or {}
    ended = last.get("terminated") or state.get("terminated") or {}
    words = [str(now.get("reason") or "")]
    if ended:
        words.append(f"it ended with status {ended.get('exitCode')}")
    words.append(str(ended.get("message") or now.get("message") or "").strip()[-200:])
    return ", ".join(" ".join(word.split()) for word in words if word) or "no reason given"


def check_restarts(facts: Facts, bench: Bench) -> None:
    """No container of Cairn is restarted again and again."""
    now = facts.cluster.now_at or facts.now_at
    for app in APPS:
        for pod in pods_of(facts, app):
            for status in (pod.get("status") or {}).get("containerStatuses") or ():
                bench.looked()
                ended = (status.get("lastState") or {}).get("terminated") or {}
                age_s = now - _unix(str(ended.get("finishedAt") or ""))
                restarts = int(status.get("restartCount") or 0)
                if restarts >= OFTEN and age_s < LATELY_S:
                    bench.found(
                        "AgentRestarts",
                        f"pod {key_of(pod)}",
                        container=status.get("name"),
                        pod=key_of(pod).name,
                        node=(pod.get("spec") or {}).get("nodeName"),
                        restarts=restarts,
                        ago=spell_time(age_s),
                        reason=_why(status),
                    )


def _unix(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def check_operator(facts: Facts, bench: Bench) -> None:
    """An operator runs."""
    pods = pods_of(facts, "cairn-operator")
    bench.looked()
    running = [p for p in pods if (p.get("status") or {}).get("phase") == "Running"]
    ready = [p for p in running if _ready(p)]
    if not ready:
        why = "there is no pod of it"
        for pod in pods:
            for status in (pod.get("status") or {}).get("containerStatuses") or ():
                why = _why(status)
        bench.found("OperatorDown", "deployment kube-system/cairn-operator", reason=why)


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def check_versions(facts: Facts, bench: Bench) -> None:
    """All parts of Cairn, on all nodes, are of one version."""
    by: dict[str, list[str]] = defaultdict(list)
    for name, report in facts.nodes.items():
        bench.looked()
        parts = [("agent", v) for v in {report.version, report.agent.version}]
        parts.append(("speaker", report.speaker.version))
        parts += [(proxy.name, proxy.version) for proxy in report.proxies]
        for part, version in (*parts, *report.versions.items()):
            if version:
                by[version].append(f"{part} of {name}")
    if len(by) > 1:
        counts = Counter({version: len(names) for version, names in by.items()})
        usual = counts.most_common(1)[0][0]
        for version, names in by.items():
            if version != usual:
                told = ", ".join(names)
                bench.found("VersionSkew", told, parts=told, version=version, others=usual)


def check_disks(facts: Facts, bench: Bench) -> None:
    """Room is left where Cairn writes."""
    for name, report in facts.nodes.items():
        for disk in report.disks:
            bench.looked()
            if not disk.total_bytes:
                continue
            share = disk.free_bytes / disk.total_bytes
            kind = "DiskFull" if share < FULL else "DiskNearlyFull" if share < NEARLY else ""
            if kind:
                bench.found(
                    kind,
                    f"node {name}",
                    path=disk.path,
                    node=name,
                    free=disk.free_bytes >> MB,
                    total=disk.total_bytes >> MB,
                )


def check_events(facts: Facts, bench: Bench) -> None:
    """No flow events were lost lately."""
    for name, report in facts.nodes.items():
        bench.looked()
        if report.agent.events_lost:
            bench.found(
                "EventsLost",
                f"node {name}",
                f"{report.events_lost} since its programs were loaded",
                node=name,
                count=report.agent.events_lost,
                window=f"the last {report.agent.events_lost_window_s:.0f} s",
            )
