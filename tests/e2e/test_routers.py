"""The lab with another daemon on its router: the same scenario, the same answers."""

import json
import os
import time
from collections.abc import Iterator

import pytest
from conftest import remains
from lab_run import NODES, VIP, LabRun, wait_for
from test_scenario import WEB, is_ready, settled

pytestmark = [pytest.mark.lab, pytest.mark.root]

WITHDRAWN_WITHIN_S = {"frr": 1.0, "bird": 1.0, "openbgpd": 2.0}
"""OpenBGPD's routes come to the kernel by a copier that asks for them."""


@pytest.fixture(scope="module", params=list(WITHDRAWN_WITHIN_S))
def other(request: pytest.FixtureRequest) -> Iterator[LabRun]:
    """A lab whose router runs the daemon named; when it is down nothing of it is left."""
    kind = request.param
    started = LabRun(f"e2e{os.getpid() % 100000}{kind[0]}", "--router", kind)
    try:
        started.up()
        yield started
    finally:
        started.down()
    assert remains(started.name) == {}


def kind_of(lab: LabRun) -> str:
    return lab.options[1]


def test_every_node_has_a_session(other: LabRun) -> None:
    settled(other)
    wait_for(
        "sessions in the policy's status",
        lambda: (
            other.get("ciliumbgppeeringpolicies")["items"][0]["status"].get("sessions") == "3/3"
        ),
    )
    shown = other.on("router", "bgpctl", "show", "summary")
    rows = {line.split()[0]: line.split() for line in shown.splitlines()[1:]}
    assert [rows[node][1] for node in NODES] == ["64512"] * 3
    assert [rows[node][-1] for node in NODES] == ["1"] * 3


def test_the_rib_holds_one_path_a_node(other: LabRun) -> None:
    settled(other)
    shown = other.on("router", "bgpctl", "show", "rib")
    paths = [line.split() for line in shown.splitlines() if f"{VIP}/32" in line]
    hops = [next(word for word in path[2:] if word in NODES) for path in paths]
    assert sorted(hops) == list(NODES)
    rib = json.loads(other.on("router", "bgpctl", "-j", "show", "rib"))["rib"]
    assert sorted(path["exit_nexthop"] for path in rib) == list(NODES)


def test_the_kernels_routes_are_shown(other: LabRun) -> None:
    settled(other)
    if kind_of(other) == "openbgpd":  # its own tool knows nothing of the copier's routes
        shown = other.on("router", "ip", "route")
    else:
        shown = other.on("router", "bgpctl", "show", "fib")
    assert [node in shown for node in NODES] == [True, True, True]


def test_every_pod_answers_and_sees_the_client(other: LabRun) -> None:
    settled(other)
    pages = [other.web() for _ in range(30)]
    assert {page["client"] for page in pages} == {"192.168.50.10"}
    assert {page["pod"] for page in pages} == {p["metadata"]["name"] for p in other.pods(WEB)}


def test_a_failing_pod_is_withdrawn_and_comes_back(other: LabRun) -> None:
    settled(other)
    pod = other.pods(WEB)[0]
    name, hop = pod["metadata"]["name"], pod["status"]["hostIP"]
    within_s = WITHDRAWN_WITHIN_S[kind_of(other)]
    other.on(f"pod/default/{name}", "curl", "-sS", "-X", "POST", "http://127.0.0.1:8080/fail")
    wait_for("pod not ready", lambda: not is_ready(other.get("pod", name)))
    began = time.monotonic()
    wait_for(f"route by {hop} gone", lambda: hop not in other.next_hops(), within_s=within_s)
    print(f"{kind_of(other)}: withdrawn in {(time.monotonic() - began) * 1000:.0f} ms")
    assert all(other.web()["pod"] != name for _ in range(10))
    other.on(f"pod/default/{name}", "curl", "-sS", "-X", "POST", "http://127.0.0.1:8080/recover")
    settled(other)


def test_status_finds_nothing_wrong(other: LabRun) -> None:
    settled(other)
    wait_for("clean status", lambda: "Nothing is wrong" in other.cairn("status", check=False))


DUAL = """
apiVersion: cilium.io/v2alpha1
kind: CiliumLoadBalancerIPPool
metadata: {name: dual}
spec:
  blocks: [{start: 203.0.113.9}, {cidr: "2001:db8:f::9/64"}]
  serviceSelector: {matchLabels: {pool: dual}}
---
apiVersion: v1
kind: Service
metadata: {name: dual, namespace: default, labels: {pool: dual}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web-app}
  ports: [{port: 80, targetPort: 8080}]
"""
DUAL_ADDRESSES = ["203.0.113.9", "2001:db8:f::9"]
NODES6 = ["fd00:1::a", "fd00:1::b", "fd00:1::c"]
NEIGHBOR = "/spec/virtualRouters/0/neighbors/0"


def check_dual(lab: LabRun) -> None:
    """Both addresses are in the router's kernel by all nodes, and answer the client."""
    four, six = DUAL_ADDRESSES
    wait_for("three next hops", lambda: lab.next_hops(four) == list(NODES))
    wait_for("three IPv6 next hops", lambda: lab.next_hops(six) == NODES6)
    assert lab.web(url=f"http://{four}")["client"] == "192.168.50.10"
    assert lab.web(url=f"http://[{six}]")["client"] == "fd00:50::a"


def test_both_families_over_one_session(other: LabRun) -> None:
    settled(other)
    other.apply(DUAL)

    def given() -> list[str]:
        ingress = other.get("svc", "dual")["status"]["loadBalancer"].get("ingress") or []
        return [entry["ip"] for entry in ingress]

    wait_for("an address of each family", lambda: given() == DUAL_ADDRESSES)
    check_dual(other)


def test_both_families_over_one_ipv6_session(other: LabRun) -> None:
    families = [{"afi": afi, "safi": "unicast"} for afi in ("ipv4", "ipv6")]
    changes = [
        {"op": "replace", "path": f"{NEIGHBOR}/peerAddress", "value": "fd00:1::1"},
        {"op": "add", "path": f"{NEIGHBOR}/families", "value": families},
    ]
    name = ("ciliumbgppeeringpolicies", "homelab-bgp-peering")
    other.kubectl("patch", *name, "--type=json", "-p", json.dumps(changes))

    def status() -> dict[str, object]:
        return dict(other.get(*name)["status"])

    def over_ipv6() -> bool:
        nodes = other.get("ciliumbgpnodeconfigs")["items"]
        peers = [n["status"]["bgpInstances"][0]["peers"][0] for n in nodes if n.get("status")]
        return {(p["peerAddress"], p["peeringState"]) for p in peers} == {
            ("fd00:1::1", "established")
        }

    wait_for("sessions over IPv6", over_ipv6)
    wait_for("sessions in the policy's status", lambda: status().get("sessions") == "3/3")
    check_dual(other)
    settled(other)
