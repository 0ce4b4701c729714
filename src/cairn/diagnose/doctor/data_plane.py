"""The data plane: programs at their hooks, maps as they were written, room in them.

Facts  ->  findings of area 4
"""

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.doctor.itself import pods_of
from cairn.diagnose.facts import Facts
from cairn.kube.metadata import key_of, metadata_of
from cairn.kube.node import XDP
from cairn.observe.map_fill import CONSEQUENCES, MARKS, OBJECTS

NEEDED = ("uplink_ingress", "uplink_egress", "socket_connect4", "socket_connect6")
POD = "pod-"
FULL = 0.99
OFF = "not attached, all at tcx"
"""How the state of an XDP program begins that could not be attached."""


def agent_pods(facts: Facts) -> dict[str, str]:
    """Return the name of each node's agent's pod."""
    return {
        str((p.get("spec") or {}).get("nodeName")): key_of(p).name for p in pods_of(facts, "cairn")
    }


def check_programs(facts: Facts, bench: Bench) -> None:
    """Every program is pinned, and runs at its hook; pods have theirs."""
    pods = agent_pods(facts)
    for node, report in facts.nodes.items():
        hooks = {hook.name: hook.attached for hook in report.hooks}
        values = {"node": node, "pod": pods.get(node, "<pod>")}
        for name in NEEDED if not report.agent.error or hooks else ():
            bench.looked()
            if name not in hooks:
                bench.found("PinMissing", f"node {node}", program=name, **values)
        for name, attached in hooks.items():
            bench.looked()
            if not attached and not name.startswith(POD):
                bench.found("ProgramDetached", f"node {node}", program=name, **values)
        for hook in report.hooks:
            if hook.attached and hook.program:
                bench.found("ProgramReplaced", f"node {node}",
                            program=hook.name, other=hook.program, **values)  # fmt: skip
        for endpoint in report.endpoints:
            for prefix in ("pod-", "pod-egress-"):
                bench.looked()
                if not hooks.get(prefix + endpoint.interface, False) and endpoint.mtu_bytes:
                    namespace, _, called = endpoint.pod.partition("/")
                    bench.found(
                        "PodProgramMissing",
                        f"pod {endpoint.pod}",
                        pods=f"pod {endpoint.pod}",
                        node=node,
                        program=prefix + endpoint.interface,
                        namespace=namespace,
                        name=called,
                    )


def check_drift(facts: Facts, bench: Bench) -> None:
    """The load balancer's maps hold what the agent wrote."""
    pods = agent_pods(facts)
    for node, report in facts.nodes.items():
        bench.looked()
        drift = report.agent.drift
        if drift:
            bench.found(
                "ServiceDrift",
                f"node {node}",
                *(f"{one.subject}: {one.what}" for one in drift[:5]),
                node=node,
                where=drift[0].subject,
                what=drift[0].what,
                pod=pods.get(node, "<pod>"),
            )


def check_drops(facts: Facts, bench: Bench) -> None:
    """No node drops packets for want of something; all that can have an XDP program run it."""
    for node, report in facts.nodes.items():
        bench.looked()
        if report.agent.drops:
            drops = ", ".join(f"{n} {name}" for name, n in sorted(report.agent.drops.items()))
            window = f"{report.agent.drops_window_s:.0f} s"
            bench.found("DropsNow", f"node {node}", node=node, drops=drops, window=window)
    for raw in facts.cluster.of("CiliumNode"):
        metadata = metadata_of(raw)
        state = metadata.annotations.get(XDP, "")
        bench.looked()
        if state.startswith(OFF):
            told = facts.nodes.get(metadata.name)
            link = told.uplink if told else "its uplink"
            values = {"node": metadata.name, "reason": state, "link": link}
            bench.found("XdpOff", f"node {metadata.name}", **values)


def check_maps(facts: Facts, bench: Bench) -> None:
    """Maps have room."""
    for node, report in facts.nodes.items():
        for fact in report.maps:
            bench.looked()
            share = fact.entries / fact.capacity if fact.capacity else 0
            if fact.evicts or share < MARKS[-1]:
                continue
            bench.found(
                "MapFull" if share >= FULL else "MapNearlyFull",
                f"node {node}",
                map=fact.name,
                node=node,
                entries=fact.entries,
                capacity=fact.capacity,
                then=CONSEQUENCES.get(fact.name, OBJECTS),
                twice=2 * fact.capacity,
            )
