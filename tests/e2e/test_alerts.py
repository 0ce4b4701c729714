"""A real Prometheus scrapes every process; faults fire the alerts that are for them.

Windows of the rules are seconds here and they wait for nothing: what they ask is as it stands in
deploy/prometheus. Faults that do not disturb each other are there at the same time.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from alert_faults import (
    DNS_ONLY,
    HTTP,
    RELAY_PORT,
    again_and_again,
    applied,
    away_while_much_happens,
    cut_off,
    filled,
    forgotten_relay,
    full,
    hung,
    killed_again_and_again,
    knock,
    reset,
    session_up,
    take_off,
)
from lab_run import NODES, ROOT, VIP, LabRun, run, wait_for
from prometheus_run import DEPLOY, Prometheus

from cairn.lab import faults
from cairn.lab.state import load_lab

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(180)]

CONTAINERS = {"agent", "speaker", "proxy", "dns"}
ALL_NODES = ("node-1", "node-2", "node-3")
NOT_BY_A_FAULT = {
    "CairnClockSkew": "all processes of one machine have one clock",
    "CairnPolicyInvalid": "its API server refuses what agents would not understand",
    "CairnRouterRefusesRoutes": "its nodes announce nothing that a kernel refuses",
}
"""Alerts that no fault of a lab fires, and why; what they ask is judged by promtool."""

KINDS = {
    ("drop", "dropped"),
    ("new", "forwarded"),
    ("redirected", "redirected"),
    ("translated", "translated"),
    ("http", "forwarded"),
    ("http", "dropped"),
    ("dns", "forwarded"),
    ("dns", "dropped"),
}
"""Flows that policies and what they drop make."""


@pytest.fixture(scope="module")
def prometheus(lab: LabRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    started = Prometheus(lab, tmp_path_factory.mktemp("prometheus"))
    try:
        yield started
    finally:
        started.stop()


def place(lab: LabRun, selector: str) -> tuple[str, str, str]:
    """Return a pod of namespace production: its place in the lab, its node, its address."""
    (pod,) = lab.pods(selector, "production")
    name = pod["metadata"]["name"]
    return f"pod/production/{name}", pod["spec"]["nodeName"], pod["status"]["podIP"]


def services(count: int) -> str:
    """Return so many Services that ask the pool for an address."""
    return "\n---\n".join(
        f"""apiVersion: v1
kind: Service
metadata: {{name: filler-{number}, labels: {{io.cilium/lb-ipam-ips: pool-homelab}}}}
spec: {{type: LoadBalancer, selector: {{app: nobody}}, ports: [{{port: 80}}]}}"""
        for number in range(count)
    )


def test_every_process_is_scraped(lab: LabRun, prometheus: Prometheus) -> None:
    def up() -> bool:
        rows = prometheus.query("up")
        return len(rows) == 15 and all(row["value"][1] == "1" for row in rows)

    wait_for("15 targets up", up)
    seen = {
        (row["metric"]["instance"], row["metric"]["container"])
        for row in prometheus.query('cairn_build_info{job="cairn"}')
    }
    assert seen == {(f"node-{n}", name) for n in (1, 2, 3) for name in CONTAINERS}
    prometheus.wait_for_peace()


def test_addresses_that_run_out_and_a_map_without_room(lab: LabRun, prometheus: Prometheus) -> None:
    try:
        with filled(lab, "node-3", "services"):
            lab.apply(services(9))
            prometheus.wait_for_alerts(
                ("CairnPoolNearlyFull", ""),
                ("CairnAgentNotReconciling", "node-3"),
                ("CairnMapNearlyFull", "node-3"),
            )
            lab.apply(services(13))
            prometheus.wait_for_alerts(
                ("CairnPoolFull", prometheus.leader), ("CairnServicePending", prometheus.leader)
            )
    finally:
        names = [f"filler-{number}" for number in range(13)]
        lab.kubectl("delete", "service", "--ignore-not-found", *names)
    prometheus.wait_for_peace(
        "CairnPoolNearlyFull", "CairnPoolFull", "CairnServicePending", "CairnAgentNotReconciling"
    )


def test_policies_and_what_they_drop(lab: LabRun, prometheus: Prometheus) -> None:
    source, node, own = place(lab, "app=nginx-ingress")
    _, web_node, web = place(lab, "tier=web")
    database, _, address = place(lab, "tier=database")
    before = prometheus.flows()
    url = f"http://{web}:8080"
    names = " ".join(f"www{number}.example.org." for number in range(40))
    lookups = f"dig +tries=1 +time=1 {names} web-app.production.svc.cluster.local. || true"

    def busy() -> None:
        knock(lab, "client-1", VIP, 9)
        knock(lab, source, address, 9)
        knock(lab, database, own, 9)
        lab.on(source, "bash", "-c", lookups)

    with contextlib.ExitStack() as stack:
        stack.enter_context(filled(lab, node, "policy_ports"))
        stack.enter_context(applied(lab, DNS_ONLY))
        prometheus.wait_for_alerts(("CairnPolicyClosed", node))
    with contextlib.ExitStack() as stack:
        for manifest in (DNS_ONLY, HTTP):
            stack.enter_context(applied(lab, manifest))
        wait_for("a refusal by Envoy", lambda: denied(lab, database, url))
        stack.enter_context(again_and_again(busy))
        wait_for("flows of every kind", lambda: prometheus.grown(before) >= KINDS)
        stack.enter_context(killed_again_and_again(lab, web_node, "envoy"))
        prometheus.wait_for_alerts(
            ("CairnPolicyDropsRising", node),
            ("CairnDnsRefusing", node),
            ("CairnEnvoyDown", web_node),
        )
        prometheus.wait_for_names("CairnDropsRising", "CairnKernelDrops")
    prometheus.wait_for_peace(
        *("CairnPolicyClosed", "CairnPolicyDropsRising", "CairnDropsRising", "CairnKernelDrops"),
        *("CairnDnsRefusing", "CairnEnvoyDown"),
    )


def denied(lab: LabRun, host: str, url: str) -> bool:
    """Return whether a request is refused for what it asks for, and then another is let through."""
    words = ("curl", "-sS", "--max-time", "1", "-o", "/dev/null", "-w", "%{http_code}")
    codes = [lab.on(host, *words, "-X", verb, url, check=False) for verb in ("POST", "GET")]
    return codes == ["403", "200"]


def test_programs_processes_and_a_relay_that_was_forgotten(
    lab: LabRun, prometheus: Prometheus, tmp_path: Path
) -> None:
    cut, hanging = [node for node in ALL_NODES if node != prometheus.operator_node]
    source, node, own = place(lab, "app=nginx-ingress")
    _, _, address = place(lab, "tier=database")
    with away_while_much_happens(lab, node, source, address):
        prometheus.wait_for_alerts(("CairnEventsLost", node))
    take_off(lab, node, own)
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(forgotten_relay(lab, tmp_path))
        prometheus.scrape(f"127.0.0.1:{RELAY_PORT}", "forgotten")
        for where, command in (
            (hanging, "cairn dns --run"),
            (hanging, "cairn speaker"),
            (prometheus.operator_node, "cairn operator"),
        ):
            stack.enter_context(hung(lab, where, command))
        stack.enter_context(cut_off(lab, cut, 6443))
        stack.enter_context(full(disk))
        prometheus.wait_for_alerts(
            ("CairnProgramDetached", node),
            ("CairnApiUnreachable", cut),
            ("CairnTargetDown", hanging),
            ("CairnNoOperator", ""),
            ("CairnSpeakerUnreachable", hanging),
            ("CairnHistoryStopped", "forgotten"),
            ("CairnVersionSkew", ""),
            ("CairnCertificateEnds", "forgotten"),
        )
    prometheus.scrape_no_more()
    lab.kubectl("delete", "pod", "-n", "production", source.rpartition("/")[2])
    prometheus.wait_for_peace(
        *("CairnProgramDetached", "CairnApiUnreachable", "CairnTargetDown", "CairnNoOperator"),
        *("CairnSpeakerUnreachable", "CairnHistoryStopped", "CairnVersionSkew"),
        *("CairnCertificateEnds", "CairnEventsLost"),
    )


def test_sessions_that_end_and_an_address_that_nobody_announces(
    lab: LabRun, prometheus: Prometheus
) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(cut_off(lab, "node-1", 179))
        prometheus.wait_for_alerts(("CairnNeighborDown", "node-1"))
        assert "CairnAddressNotAnnounced" not in {name for name, _ in prometheus.firing()}
        for node in ALL_NODES[1:]:
            stack.enter_context(cut_off(lab, node, 179))
        prometheus.wait_for_alerts(
            *(("CairnNeighborDown", node) for node in ALL_NODES), ("CairnAddressNotAnnounced", "")
        )
    prometheus.wait_for_peace(
        "CairnNeighborDown", "CairnAddressNotAnnounced", "CairnMapNearlyFull", within_s=60
    )


def test_a_router_that_does_not_take_ipv4(lab: LabRun, prometheus: Prometheus) -> None:
    record = load_lab(lab.name)
    try:
        faults.inject(record, "router-families", "router")
        prometheus.wait_for_alerts(*(("CairnRouteNotAnnounced", node) for node in ALL_NODES))
    finally:
        faults.clear(record)
    prometheus.wait_for_peace("CairnRouteNotAnnounced", "CairnTargetDown")
    wait_for("routes again", lambda: len(lab.next_hops()) == len(ALL_NODES))


def test_a_session_that_ends_again_and_again(lab: LabRun, prometheus: Prometheus) -> None:
    def flap() -> None:
        if session_up(lab, "node-2"):
            reset(lab, "node-2", 179)

    with again_and_again(flap):
        prometheus.wait_for_alerts(("CairnNeighborFlaps", "node-2"))


def test_every_alert_was_fired_by_its_fault(prometheus: Prometheus) -> None:
    rules = yaml.safe_load((DEPLOY / "rules" / "cairn.rules.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert prometheus.fired | set(NOT_BY_A_FAULT) == alerts
    assert not prometheus.fired & set(NOT_BY_A_FAULT)


PORTS = {"agent": 9962, "speaker": 9967, "proxy": 9964, "dns": 9968, "operator": 9963}
FOREIGN = ("python_", "process_", "scrape_")
"""Families that come with the library."""


def test_the_documented_list_is_whole(lab: LabRun, prometheus: Prometheus) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)` \| (?:gauge|counter|histogram) \|", text, re.MULTILINE))
    documented = {name for name in rows if not name.startswith(FOREIGN)}

    def told() -> set[str]:
        names = set()
        places = [
            *(f"{NODES[0]}:{port}" for name, port in PORTS.items() if name != "operator"),
            *(f"{node}:{PORTS['operator']}" for node in NODES),
            "192.168.1.1:9969",
            f"{NODES[0]}:30966",
        ]
        for place in places:
            words = ("curl", "-sS", "--max-time", "5", f"http://{place}/metrics")
            page = run("ip", "netns", "exec", lab.netns("client-2"), *words, check=False)
            names |= set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE))
        return {name for name in names if not name.startswith(FOREIGN)}

    assert told() - documented == set(), "exposed, and not in docs/metrics.md"
    assert documented - told() == set(), "documented, not exposed"


SILENT_WHEN_HEALTHY = frozenset(
    {
        "cairn_policy_denied_total",
        "cairn_policy_allowed_total",
        "cairn_proxy_requests_total",
        "cairn_proxy_request_verdicts_total",
        "cairn_agent_flows_total",
        "cairn_agent_flow_drops_total",
        "cairn_agent_flow_events_lost_total",
        "cairn_agent_kernel_drops_total",
        "cairn_policy_audited_total",
        "cairn_proxy_connections",
        "cairn_relay_certificate_expiry",  # of a relay with TLS
        "cairn_program_attached == 0",
        "cairn_packets_total{verdict=~",
        "histogram_quantile",  # of nothing in the last seconds
    }
)
"""Parts of expressions that may have no value while nothing happens."""


def test_every_panel_of_the_dashboards_has_data(lab: LabRun, prometheus: Prometheus) -> None:
    lab.web()
    announced = "cairn_operator_announcing_nodes"
    wait_for("sessions after those that were ended", lambda: prometheus.query(announced))
    empty = []
    for path in sorted((ROOT / "deploy" / "grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", "1m")
                rows = prometheus.query(expression)
                if not rows and not any(part in expression for part in SILENT_WHEN_HEALTHY):
                    empty.append((path.name, panel["title"], expression))
    assert empty == []


def _operator(prometheus: Prometheus) -> str:
    rows = prometheus.query("cairn_operator_leading == 1")
    return str(rows[0]["metric"]["instance"])
