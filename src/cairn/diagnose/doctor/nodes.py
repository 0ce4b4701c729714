"""Nodes: ready, forwarding, uplinks, paths, neighbours, clocks, memory.

Facts  ->  findings of area 3
"""

import statistics
from collections import Counter
from collections.abc import Iterator

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.facts import PODS_OF, Facts, Link, NodeReport
from cairn.kube.metadata import Object, key_of, metadata_of
from cairn.kube.node import Node

SKEW_S = 2.0
MEMORY_SHARE = 0.05
MAC = "cairn.io/uplink-mac"
PATHS_WAIT_S = 1.0
ASKER = "this machine"


def check_ready(facts: Facts, bench: Bench) -> None:
    """Every node is ready."""
    for raw in facts.cluster.of("Node"):
        bench.looked()
        node = Node.from_object(raw)
        if not node.ready:
            why = _condition(raw, "Ready")
            bench.found("NodeNotReady", f"node {node.name}", node=node.name, reason=why)


def _condition(raw: Object, wanted: str) -> str:
    for condition in (raw.get("status") or {}).get("conditions") or ():
        if condition.get("type") == wanted:
            return str(condition.get("message") or condition.get("reason") or "no reason given")
    return "its kubelet has not told"


def check_kernels(facts: Facts, bench: Bench) -> None:
    """The kernel of every node has what the data plane needs."""
    for name, report in facts.nodes.items():
        bench.looked()
        if report.missing:
            values = {"node": name, "kernel": report.kernel, "reason": report.missing[0]}
            bench.found("KernelOld", f"node {name}", *report.missing, **values)


def check_settings(facts: Facts, bench: Bench) -> None:
    """The kernel of every node is as Cairn set it."""
    for name, report in facts.nodes.items():
        for setting in report.settings:
            bench.looked()
            if setting.value == setting.wanted or setting.value is None:
                continue
            short = setting.name.replace("/", ".")
            kind = "ForwardingOff" if "forward" in short else "SettingDrifted"
            bench.found(
                kind,
                f"node {name}",
                f"{short} is {setting.value}",
                node=name,
                setting=short,
                value=setting.value,
                wanted=setting.wanted,
            )


def uplink_of(report: NodeReport) -> Link | None:
    """Return a node's uplink as it reports it."""
    return next((link for link in report.links if link.name == report.uplink), None)


def check_links(facts: Facts, bench: Bench) -> None:
    """Uplinks have carrier and one MTU; pods' links have no larger one."""
    uplinks = {n: link for n, report in facts.nodes.items() if (link := uplink_of(report))}
    sizes = Counter(link.mtu_bytes for link in uplinks.values())
    usual = max(sizes, key=lambda size: (sizes[size], size), default=0)
    for name, report in facts.nodes.items():
        if name not in uplinks and report.links:
            own = ", ".join(_addresses(facts, name))
            bench.found("UplinkGone", f"node {name}", node=name, address=own)
    for name, link in uplinks.items():
        bench.looked()
        if not (link.up and link.carrier):
            state = "without carrier" if link.up else "down"
            bench.found("UplinkDown", f"node {name}", node=name, link=link.name, state=state)
        if link.mtu_bytes != usual:
            others = ", ".join(n for n, one in uplinks.items() if one.mtu_bytes == usual)
            bench.found(
                "MtuUneven",
                f"node {name}",
                *(f"{n}: {one.name} has MTU {one.mtu_bytes}" for n, one in uplinks.items()),
                node=name,
                mtu=link.mtu_bytes,
                link=link.name,
                others=others,
                other_mtu=usual,
            )
        for pod in facts.nodes[name].endpoints:
            bench.looked()
            if pod.mtu_bytes > link.mtu_bytes:
                namespace, _, called = pod.pod.partition("/")
                bench.found(
                    "PodMtuTooLarge",
                    f"pod {pod.pod}",
                    node=name,
                    pods=f"pod {pod.pod}",
                    mtu=pod.mtu_bytes,
                    wanted=link.mtu_bytes,
                    namespace=namespace,
                    pod=called,
                )


def _addresses(facts: Facts, name: str) -> list[str]:
    nodes = map(Node.from_object, facts.cluster.of("Node"))
    return [str(a) for node in nodes if node.name == name for a in node.internal_ips]


def check_paths(facts: Facts, bench: Bench) -> None:
    """Every node reaches every other and its routers, with the largest packets too."""
    for name, report in facts.nodes.items():
        reached = {path.peer for path in report.paths if path.small}
        for path in report.paths:
            if path.peer.startswith(PODS_OF):
                continue
            bench.looked()
            seen = f"{name} to {path.address}: passed {path.passed_bytes} octets"
            values = {"node": name, "peer": path.peer, "address": path.address}
            if not path.small:
                if path.peer in reached:
                    works, fails = ("IPv4", "IPv6") if ":" in path.address else ("IPv6", "IPv4")
                    bench.found("OneFamilyOnly", f"node {name}", works=works, fails=fails, **values)
                elif not path.peer.startswith("router"):  # many routers do not answer pings
                    error = (f"{path.address}: {path.error}",) if path.error else ()
                    bench.found("PeerSilent", f"node {name}", *error, **values)
            elif not path.large and _mtu(facts, path.peer, path.size_bytes) >= path.size_bytes:
                bench.found(
                    "MtuBlackHole",
                    f"node {name}",
                    seen,
                    size=path.size_bytes,
                    passed=path.passed_bytes,
                    payload=path.size_bytes - (48 if ":" in path.address else 28),
                    **values,
                )


def _mtu(facts: Facts, peer: str, default: int) -> int:
    report = facts.nodes.get(peer)
    link = uplink_of(report) if report else None
    return link.mtu_bytes if link else default


def check_neighbours(facts: Facts, bench: Bench) -> None:
    """ARP and ND are answered, each address by its owner."""
    owners = dict(_owners(facts))
    for name, report in facts.nodes.items():
        for entry in report.neighbours:
            known = owners.get(entry.address)
            if known is None or entry.device != report.uplink:
                continue
            bench.looked()
            owner, mac = known
            values = {"node": name, "address": entry.address, "owner": owner}
            if entry.state in ("failed", "incomplete"):
                bench.found("NeighbourFailed", f"node {name}", **values)
            elif entry.mac and mac and entry.mac != mac:
                bench.found("DuplicateAddress", f"node {name}", mac=entry.mac, wanted=mac, **values)
    for entry in facts.router.neighbours:
        if entry.address in owners and entry.mac:
            bench.looked()
            owner, mac = owners[entry.address]
            if mac and entry.mac != mac:
                bench.found(
                    "DuplicateAddress",
                    "the router",
                    node="the router",
                    address=entry.address,
                    owner=owner,
                    mac=entry.mac,
                    wanted=mac,
                )


def _owners(facts: Facts) -> Iterator[tuple[str, tuple[str, str]]]:
    macs = {
        metadata_of(raw).name: metadata_of(raw).annotations.get(MAC, "")
        for raw in facts.cluster.of("CiliumNode")
    }
    for raw in facts.cluster.of("Node"):
        node = Node.from_object(raw)
        for address in node.internal_ips:
            yield str(address), (node.name, macs.get(node.name, "").lower())
    for report in facts.nodes.values():
        for session in report.speaker.sessions:
            yield session.peer, ("the router", "")


def check_clocks(facts: Facts, bench: Bench) -> None:
    """Clocks agree: of nodes, API server, router, and of who asks."""
    ahead_s = dict(_clocks(facts))
    usual_s = statistics.median_low(ahead_s.values())
    for subject, offset_s in ahead_s.items():
        bench.looked()
        skew_s = offset_s - usual_s
        # Answers were under way for a while: a clock that is behind by less is right.
        if not -SKEW_S - PATHS_WAIT_S < skew_s < SKEW_S:
            bench.found(
                "ClockSkew",
                subject,
                f"{subject} is {offset_s:+.1f} s against {ASKER}, most are {usual_s:+.1f} s",
                skew=f"{abs(skew_s):.1f} s",
                way="ahead of" if skew_s > 0 else "behind",
                reference="the others'",
            )
    free = [name for name, report in facts.nodes.items() if report.clock_synchronised is False]
    if free:
        bench.found("ClockFree", f"node {', '.join(free)}", node=", ".join(free))


def _clocks(facts: Facts) -> Iterator[tuple[str, float]]:
    """Yield by how much each clock was ahead of the asker's when it was read."""
    yield ASKER, 0.0
    told = {f"node {name}": (name, report.now_at) for name, report in facts.nodes.items()}
    told |= {"the API server": ("api", facts.cluster.now_at),
             "the router": ("router", facts.router.now_at)}  # fmt: skip
    for subject, (name, now_at) in told.items():
        asked_at = facts.asked_at.get(name, 0)
        if now_at and asked_at:
            yield subject, now_at - asked_at


def check_memory(facts: Facts, bench: Bench) -> None:
    """Memory is left."""
    for name, report in facts.nodes.items():
        total, free = report.memory_total_bytes, report.memory_free_bytes
        bench.looked()
        if total and free < MEMORY_SHARE * total:
            values = {"node": name, "free": free >> 20, "total": total >> 20}
            bench.found("MemoryLow", f"node {name}", **values)


def check_pod_routes(facts: Facts, bench: Bench) -> None:
    """Every node has a route to the pods of every other."""
    networks = {key_of(raw).name: _networks(raw) for raw in facts.cluster.of("CiliumNode")}
    for name, report in facts.nodes.items():
        held = {route.prefix for route in report.routes}
        for peer, listed in networks.items():
            for network in listed if peer != name and held else ():
                bench.looked()
                if network not in held:
                    values = {"node": name, "network": network, "peer": peer}
                    bench.found("RouteToNodeMissing", f"node {name}", **values)


def _networks(raw: Object) -> tuple[str, ...]:
    ipam = (raw.get("spec") or {}).get("ipam") or {}
    return tuple(str(one) for one in ipam.get("podCIDRs") or ())
