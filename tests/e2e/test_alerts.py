"""A real Prometheus scrapes every process; faults fire the alerts that are for them.

Windows of the rules are seconds here and they wait for nothing: what they ask is as it stands in
deploy/prometheus. Faults that do not disturb each other are there at the same time.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_run import NODES, ROOT, VIP, LabRun, run, wait_for
from prometheus_run import Prometheus

pytestmark = [pytest.mark.lab, pytest.mark.root]

CONTAINERS = {"agent", "speaker", "proxy", "dns"}


@pytest.fixture(scope="module")
def prometheus(lab: LabRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    started = Prometheus(lab, tmp_path_factory.mktemp("prometheus"))
    try:
        yield started
    finally:
        started.stop()


def services(count: int) -> str:
    """Return so many Services that ask the pool for an address."""
    return "\n---\n".join(
        f"""apiVersion: v1
kind: Service
metadata: {{name: filler-{number}, labels: {{io.cilium/lb-ipam-ips: pool-homelab}}}}
spec: {{type: LoadBalancer, selector: {{app: nobody}}, ports: [{{port: 80}}]}}"""
        for number in range(count)
    )


def block(lab: LabRun, node: str, port: int) -> None:
    """Have a node's own connections to a TCP port reset, those that stand too."""
    script = (
        f"add table inet alert{port}; add chain inet alert{port} out "
        "{ type filter hook output priority 0; }; "
        f"add rule inet alert{port} out tcp dport {port} reject with tcp reset"
    )
    inside = ("ip", "netns", "exec", lab.netns(node))
    run(*inside, "nft", script)
    run(*inside, "ss", "-K", "dport", "=", f":{port}", check=False)


def unblock(lab: LabRun, node: str, port: int) -> None:
    inside = ("ip", "netns", "exec", lab.netns(node))
    run(*inside, "nft", f"delete table inet alert{port}", check=False)


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


def processes_of(lab: LabRun, node: str, command: str) -> list[int]:
    """Return the processes of a node whose command line has these words."""
    wanted = os.stat(f"/run/netns/{lab.netns(node)}").st_ino
    found = [
        int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _is(int(pid), wanted, command)
    ]
    assert found, (node, command)
    return found


def _is(pid: int, netns: int, command: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return command in words and os.stat(f"/proc/{pid}/ns/net").st_ino == netns
    except OSError:
        return False


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


def test_addresses_that_run_out(lab: LabRun, prometheus: Prometheus) -> None:
    try:
        lab.apply(services(9))
        prometheus.wait_for_alerts(("CairnPoolNearlyFull", ""))
        lab.apply(services(13))
        prometheus.wait_for_alerts(
            ("CairnPoolFull", _operator(prometheus)), ("CairnServicePending", _operator(prometheus))
        )
    finally:
        names = [f"filler-{number}" for number in range(13)]
        lab.kubectl("delete", "service", "--ignore-not-found", *names)
    prometheus.wait_for_peace("CairnPoolNearlyFull", "CairnPoolFull", "CairnServicePending")


def test_a_node_cut_off_from_the_api_and_a_process_that_hangs(
    lab: LabRun, prometheus: Prometheus
) -> None:
    cut, hung = [n for n in ("node-1", "node-2", "node-3") if n != prometheus.operator_node]
    stopped = processes_of(lab, hung, "cairn dns --run")
    stopped += processes_of(lab, prometheus.operator_node, "cairn operator")
    try:
        signal_all(stopped, signal.SIGSTOP)
        block(lab, cut, 6443)
        prometheus.wait_for_alerts(
            ("CairnApiUnreachable", cut), ("CairnTargetDown", hung), ("CairnNoOperator", "")
        )
    finally:
        signal_all(stopped, signal.SIGCONT)
        unblock(lab, cut, 6443)
    prometheus.wait_for_peace("CairnApiUnreachable", "CairnTargetDown", "CairnNoOperator")


def test_sessions_that_end_and_an_address_that_nobody_announces(
    lab: LabRun, prometheus: Prometheus
) -> None:
    nodes = ("node-1", "node-2", "node-3")
    try:
        block(lab, "node-1", 179)
        prometheus.wait_for_alerts(("CairnNeighborDown", "node-1"))
        assert "CairnAddressNotAnnounced" not in {name for name, _ in prometheus.firing()}
        for node in nodes[1:]:
            block(lab, node, 179)
        prometheus.wait_for_alerts(
            *(("CairnNeighborDown", node) for node in nodes), ("CairnAddressNotAnnounced", "")
        )
    finally:
        for node in nodes:
            unblock(lab, node, 179)
    prometheus.wait_for_peace("CairnNeighborDown", "CairnAddressNotAnnounced", within_s=60)


def test_packets_that_are_dropped(lab: LabRun, prometheus: Prometheus) -> None:
    flood = f"for i in $(seq 300); do echo x > /dev/udp/{VIP}/9; done"

    def fires() -> bool:
        lab.on("client-1", "bash", "-c", flood)
        return "CairnDropsRising" in {name for name, _ in prometheus.firing()}

    wait_for("CairnDropsRising", fires)
    prometheus.wait_for_peace("CairnDropsRising")


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
        "cairn_program_attached == 0",
        "cairn_packets_total{verdict=~",
        "histogram_quantile",  # of nothing in the last seconds
    }
)
"""Parts of expressions that may have no value while nothing happens."""


def test_every_panel_of_the_dashboards_has_data(lab: LabRun, prometheus: Prometheus) -> None:
    lab.web()
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
