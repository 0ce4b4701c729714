"""The reference document's commands, typed as they stand there, show what they must show."""

import re
import time
from collections import Counter
from typing import Any

import pytest
from lab_run import NODES, VIP, LabRun, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

WEB = "app=web-app"


def column(table: str, name: str) -> list[str]:
    """Return one column of a table with a header line, by the header's position."""
    header, *rows = table.rstrip("\n").split("\n")
    found = re.search(rf"(?<!\S){re.escape(name)}(\s+|$)", header)
    assert found, f"no column {name} in: {header}"
    start, end = found.start(), found.end() if found.end() < len(header) else None
    return [row[start:end].strip() for row in rows]


def settled(lab: LabRun) -> None:
    """Wait until three pods are ready and all nodes announce them."""
    wait_for("three ready pods", lambda: sum(map(is_ready, lab.pods(WEB))) == 3)
    wait_for("three next hops", lambda: lab.next_hops() == list(NODES))


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_c1_the_service_has_its_address(lab: LabRun) -> None:
    table = lab.kubectl("get", "svc", "my-web-app")
    assert column(table, "EXTERNAL-IP") == [VIP]
    assert re.fullmatch(r"80:3\d{4}/TCP", column(table, "PORT(S)")[0])
    wide = lab.kubectl("get", "svc", "-A", "-o", "wide")
    assert VIP in column(wide, "EXTERNAL-IP")


def test_c2_every_pod_answers_and_sees_the_client(lab: LabRun) -> None:
    settled(lab)
    seen: Counter[str] = Counter()
    for host, address in (("client-1", "192.168.50.10"), ("client-2", "192.168.1.50")):
        for _ in range(20):
            page = lab.web(host)
            assert page["client"] == address
            seen[page["pod"]] += 1
    assert set(seen) == {pod["metadata"]["name"] for pod in lab.pods(WEB)}


def test_c3_the_router_has_one_next_hop_per_node(lab: LabRun) -> None:
    settled(lab)
    text = lab.on("router", "ip", "route")
    route = text[text.index(VIP) :].split("\n192")[0]
    assert [address in route for address in NODES] == [True, True, True]


def test_c4_bgpctl_show_neighbor(lab: LabRun) -> None:
    settled(lab)
    lines = lab.on("router", "bgpctl", "show", "neighbor").splitlines()
    header = "Neighbor                   AS    MsgRcvd    MsgSent  OutQ Up/Down  State/PrfRcvd"
    assert lines[0] == header
    fields = {line.split()[0]: line.split() for line in lines[1:]}
    assert set(fields) == set(NODES)
    for row in fields.values():
        assert row[1] == "64512"
        assert int(row[2]) > 0
        assert int(row[3]) > 0
        assert re.fullmatch(r"\d\d:\d\d:\d\d", row[5])
        assert row[6] == "1"


def test_c5_bgpctl_show_rib(lab: LabRun) -> None:
    settled(lab)
    lines = lab.on("router", "bgpctl", "show", "rib").splitlines()
    assert lines[0] == "flags: * = Valid, > = Selected, I = via IBGP, A = Announced,"
    assert lines[1] == "       S = Stale, E = Error"
    assert lines[2] == "flags destination          gateway          lpref   med aspath origin"
    paths = [line.split() for line in lines[3:]]
    assert sorted(path[2] for path in paths if path[1] == f"{VIP}/32") == list(NODES)
    assert all("*" in path[0] and path[3:] == ["100", "0", "i"] for path in paths)


def test_c6_netstat_shows_the_ecmp_routes(lab: LabRun) -> None:
    settled(lab)
    text = lab.on("router", "netstat", "-rn")
    hops = [line.split()[1] for line in text.splitlines() if line.startswith(VIP)]
    assert sorted(hops) == list(NODES)


def test_c7_a_failed_pod_is_withdrawn_and_comes_back(lab: LabRun) -> None:
    settled(lab)
    pod = lab.pods(WEB)[0]
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    hop = pod["status"]["hostIP"]
    lab.on(f"pod/default/{name}", "curl", "-sS", "-X", "POST", "http://127.0.0.1:8080/fail")

    def not_ready() -> bool:
        return not is_ready(lab.get("pod", name))

    wait_for(f"pod on {node} not ready", not_ready)
    began = time.monotonic()
    wait_for(f"route by {hop} withdrawn", lambda: hop not in lab.next_hops(), within_s=1)
    withdrawn_s = time.monotonic() - began
    assert {lab.web()["pod"] for _ in range(20)} == {
        other["metadata"]["name"] for other in lab.pods(WEB) if other["metadata"]["name"] != name
    }
    lab.on(f"pod/default/{name}", "curl", "-sS", "-X", "POST", "http://127.0.0.1:8080/recover")
    settled(lab)
    print(f"withdrawn {withdrawn_s * 1000:.0f} ms after the pod was seen not ready")


@pytest.mark.parametrize(
    "words",
    [
        ("ciliumnode", "-o", "wide"),
        ("ciliumbgppeeringpolicy",),
        ("ciliumbgpadvertisement",),
        ("ciliumendpoint", "-A"),
    ],
    ids=lambda words: words[0],
)
def test_c8_the_objects_are_there(lab: LabRun, words: tuple[str, ...]) -> None:
    table = lab.kubectl("get", *words)
    assert len(table.splitlines()) >= 2


def test_c8_columns_tell_state(lab: LabRun) -> None:
    settled(lab)
    nodes = lab.kubectl("get", "ciliumnode", "-o", "wide")
    wait_for(
        "BGP column",
        lambda: column(lab.kubectl("get", "ciliumnode", "-o", "wide"), "BGP") == ["1/1"] * 3,
    )
    both = [f"{four},fd00:1::{number:x}" for number, four in enumerate(NODES, 10)]
    assert column(nodes, "INTERNALIP") == both
    advertised = lab.kubectl("get", "ciliumbgpadvertisement")
    assert column(advertised, "ADDRESSES") == [VIP]
    wait_for(
        "endpoints of pods",
        lambda: (
            set(column(lab.kubectl("get", "ciliumendpoint", "-A"), "ENDPOINT STATE")) == {"ready"}
        ),
    )
    assert "items: []" in lab.kubectl("get", "cnp", "-A", "-o", "yaml")


def test_c9_sessions_established_of_configured(lab: LabRun) -> None:
    settled(lab)
    table = lab.kubectl("get", "ciliumbgppeeringpolicy", "-o", "wide")
    assert column(table, "SESSIONS") == ["3/3"]


def test_c12_the_agents_log_tells_of_bgp(lab: LabRun) -> None:
    text = lab.kubectl("logs", "-n", "kube-system", "ds/cairn")
    lines = [line for line in text.splitlines() if "bgp" in line.lower()]
    assert any("192.168.1.1" in line and "Established" in line for line in lines), text


def test_c13_ping_and_telnet_from_the_agent(lab: LabRun) -> None:
    agent = ("exec", "-n", "kube-system", "ds/cairn", "--")
    assert "1 received" in lab.kubectl(*agent, "ping", "-c", "1", "192.168.1.1")
    said = lab.kubectl(
        *agent, "sh", "-c", "sleep 1 | timeout 10 telnet 192.168.1.1 179 | head -3", check=False
    )
    assert "Connected to 192.168.1.1" in said


def test_c17_a_new_service_is_announced_within_a_second(lab: LabRun) -> None:
    settled(lab)
    manifest = """
apiVersion: v1
kind: Service
metadata:
  name: second
  labels: {io.cilium/lb-ipam-ips: pool-homelab}
spec:
  type: LoadBalancer
  selector: {app: web-app}
  ports: [{port: 80, targetPort: 8080}]
"""
    lab.apply(manifest)
    began = time.monotonic()
    try:
        hops = wait_for("route", lambda: lab.next_hops("192.168.1.101"), within_s=1)
        print(f"first next hop {(time.monotonic() - began) * 1000:.0f} ms after kubectl returned")
        assert set(hops) <= set(NODES)
        wait_for("all hops", lambda: lab.next_hops("192.168.1.101") == list(NODES), within_s=1)
        assert lab.web(url="http://192.168.1.101")["client"] == "192.168.50.10"
    finally:
        lab.kubectl("delete", "service", "second")
    wait_for("withdrawal", lambda: not lab.next_hops("192.168.1.101"), within_s=2)


def test_c18_a_new_node_peers_by_itself(lab: LabRun) -> None:
    lab.cairn("lab", "node", "--name", lab.name, "add")
    try:
        began = time.monotonic()

        def peers() -> bool:
            rows = lab.on("router", "bgpctl", "show", "neighbor").splitlines()
            found = [row.split() for row in rows if row.startswith("192.168.1.13 ")]
            return bool(found) and found[0][-1].isdigit()

        wait_for("session of node-4", peers, within_s=10)
        print(f"node-4 peers {time.monotonic() - began:.1f} s after the command returned")
        lab.kubectl("scale", "deployment", "my-web-app", "--replicas=4")
        wait_for("fourth next hop", lambda: "192.168.1.13" in lab.next_hops())
    finally:
        lab.kubectl("scale", "deployment", "my-web-app", "--replicas=3")
        lab.cairn("lab", "node", "--name", lab.name, "remove", "node-4")
    settled(lab)


def test_status_says_that_nothing_is_wrong(lab: LabRun) -> None:
    settled(lab)
    wait_for("clean status", lambda: "Nothing is wrong" in lab.cairn("status", check=False))
