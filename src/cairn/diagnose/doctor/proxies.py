"""DNS and the proxies: does the cluster's DNS answer, do the proxies that policies need.

Facts  ->  findings of areas 7 and 8
"""

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.doctor.data_plane import agent_pods
from cairn.diagnose.facts import DnsFact, Facts
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key, key_of

CLUSTER_DNS = Key("kube-system", "kube-dns")


def check_dns(facts: Facts, bench: Bench) -> None:
    """There is a cluster DNS, and it answers every node."""
    bench.looked()
    if all(key_of(raw) != CLUSTER_DNS for raw in facts.cluster.of("Service")):
        bench.found("ClusterDnsMissing", "service kube-system/kube-dns")
    silent: dict[str, list[tuple[str, DnsFact]]] = {}
    for node, report in facts.nodes.items():
        for answer in report.dns:
            bench.looked()
            if not answer.answered or answer.code != "NOERROR":
                silent.setdefault(answer.server, []).append((node, answer))
    served_by = ", ".join(sorted(_served_by(facts))) if silent else ""
    for server, rows in silent.items():
        nodes = ", ".join(node for node, _ in rows)
        first = rows[0][1]
        values = {"nodes": nodes, "address": server, "owner": served_by}
        if first.answered:
            bench.found("ClusterDnsRefuses", f"DNS {server}", reason=first.code, **values)
        else:
            bench.found("ClusterDnsSilent", f"DNS {server}", reason=first.error, **values)


def _served_by(facts: Facts) -> set[str]:
    """Return the nodes that the cluster DNS runs on."""
    return {
        state.node
        for part in map(EndpointSlice.from_object, facts.cluster.of("EndpointSlice"))
        if part.service == CLUSTER_DNS
        for state in part.states
        if state.node
    }


def check_proxies(facts: Facts, bench: Bench) -> None:
    """The proxies answer where policies need them."""
    pods = agent_pods(facts)
    for node, report in facts.nodes.items():
        for proxy in report.proxies:
            bench.looked()
            if not proxy.error:
                if proxy.refused:
                    values = {"refused": str(proxy.refused), "asked": str(proxy.asked)}
                    bench.found("DnsProxyRefuses", f"node {node}", node=node, **values)
                continue
            values = {"node": node, "pod": pods.get(node, "<pod>"), "reason": proxy.error}
            if proxy.name == "envoy":
                kind = "EnvoyDown" if proxy.needed else ""
            else:
                kind = "DnsProxyDown" if proxy.needed else "DnsProxyIdle"
            if kind:
                bench.found(kind, f"node {node}", count=proxy.needed, **values)
