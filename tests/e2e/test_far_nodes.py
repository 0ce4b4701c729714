"""A lab with a node on a second subnet: its pods are reached, and serve, as any other's."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import remains
from fault_run import broken, named_first
from lab_run import VIP, LabRun, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

FAR = "192.168.2.12"


DUAL_STACK = """
apiVersion: cilium.io/v2
kind: CiliumLoadBalancerIPPool
metadata: {name: both}
spec:
  blocks: [{cidr: "10.99.0.0/24"}, {cidr: "fd00:100::/112"}]
  serviceSelector: {matchLabels: {pool: both}}
---
apiVersion: v1
kind: Service
metadata: {name: both, labels: {pool: both}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web-app}
  ports: [{port: 80, targetPort: 8080}]
"""


@pytest.fixture(scope="module")
def far() -> Iterator[LabRun]:
    started = LabRun(f"e2ef{os.getpid() % 100000}", "--nodes", "2", "--far-nodes", "1")
    try:
        started.up()
        yield started
    finally:
        started.down()
    assert remains(started.name) == {}


def web_pods(lab: LabRun) -> dict[str, dict[str, Any]]:
    """Return the scenario's web pods by their node."""
    return {pod["spec"]["nodeName"]: pod for pod in lab.pods("app=web-app")}


def mtu(lab: LabRun, host: str, device: str) -> int:
    shown = lab.on(host, "ip", "-o", "link", "show", device, check=False)
    return int(shown.split(" mtu ")[1].split()[0]) if " mtu " in shown else 0


def test_the_router_has_the_far_node_as_a_next_hop(far: LabRun) -> None:
    hops = ["192.168.1.10", "192.168.1.11", FAR]
    wait_for("next hops", lambda: far.next_hops() == hops)


@pytest.mark.parametrize("client", ["client-1", "client-2"])
def test_every_pod_answers_a_client_and_sees_its_address(far: LabRun, client: str) -> None:
    expected = {"client-1": "192.168.50.10", "client-2": "192.168.1.50"}[client]
    seen: set[str] = set()

    def all_seen() -> bool:
        page = far.web(client)
        assert page["client"] == expected
        seen.add(page["node"])
        return len(seen) == 3

    wait_for(f"pods of every node (seen: {seen})", all_seen)


def await_answer(lab: LabRun, url: str) -> None:
    ask = ("client-1", "curl", "-sS", "-m", "2", url)
    wait_for(f"an answer at {url}", lambda: "pod:" in lab.on(*ask, check=False))


def test_a_dual_stack_address_is_served_by_every_node_in_both_families(far: LabRun) -> None:
    far.apply(DUAL_STACK)

    def given() -> list[str]:
        status = far.get("service", "both")["status"]
        entries = status.get("loadBalancer", {}).get("ingress", [])
        return [entry["ip"] for entry in entries] if len(entries) == 2 else []

    addresses = wait_for("an address of each family", given)
    for address in addresses:
        six = ":" in address
        url = f"http://[{address}]" if six else f"http://{address}"
        await_answer(far, url)
        seen: set[str] = set()
        for _ in range(60):
            page = far.web("client-1", url)
            assert page["client"] == ("fd00:50::a" if six else "192.168.50.10")
            seen.add(page["node"])
            if len(seen) == 3:
                break
        assert seen == {"node-1", "node-2", "node-3"}


def test_pods_of_every_node_reach_each_other_by_both_families(far: LabRun) -> None:
    pods = web_pods(far)
    for node, pod in pods.items():
        place = f"pod/default/{pod['metadata']['name']}"
        own = [entry["ip"] for entry in pod["status"]["podIPs"]]
        for other, target in pods.items():
            if other == node:
                continue
            for entry, expected in zip(target["status"]["podIPs"], own, strict=True):
                address = entry["ip"]
                url = f"http://[{address}]:8080" if ":" in address else f"http://{address}:8080"
                page = far.web(place, url)
                assert (page["node"], page["client"]) == (other, expected)


def test_an_overlay_that_is_lost_is_named_first(far: LabRun) -> None:
    with broken(far, "overlay-lost") as fault:
        named_first(far, fault)


def restarts(lab: LabRun) -> int:
    pods = lab.get("pods", "-n", "kube-system")["items"]
    return sum(c["restartCount"] for pod in pods for c in pod["status"]["containerStatuses"])


def test_another_mtu_of_an_uplink_reaches_its_pods_without_a_restart(far: LabRun) -> None:
    place = f"pod/default/{web_pods(far)['node-1']['metadata']['name']}"
    assert mtu(far, place, "eth0") == 1450
    before = restarts(far)

    def follow(uplink: int, inside: int) -> None:
        far.on("node-1", "ip", "link", "set", "eth0", "mtu", str(uplink))
        wait_for(f"{inside} in the pod", lambda: mtu(far, place, "eth0") == inside)

    follow(1400, 1350)
    follow(1500, 1450)
    assert restarts(far) == before


def test_an_uplink_that_vanishes_and_comes_back_serves_again(far: LabRun) -> None:
    far.on("node-2", "ip", "link", "del", "eth0")
    far.up()  # plugs the cable in again: another interface of the same name
    pod = web_pods(far)["node-2"]
    url = f"http://{pod['status']['podIP']}:8080"
    place = f"pod/default/{web_pods(far)['node-3']['metadata']['name']}"
    wait_for(
        "node-2's pod",
        lambda: "pod:" in far.on(place, "curl", "-sS", "-m", "2", url, check=False),
        within_s=60,
    )
    wait_for("next hops", lambda: len(far.next_hops()) == 3, within_s=60)
    assert far.web()["client"] == "192.168.50.10"


def test_the_overlay_goes_with_the_last_far_node(far: LabRun) -> None:
    assert mtu(far, "node-1", "cairn_vxlan") == 1450
    far.cairn("lab", "node", "--name", far.name, "remove", "node-3", timeout_s=120)
    wait_for("the overlay's end", lambda: mtu(far, "node-1", "cairn_vxlan") == 0)
    place = f"pod/default/{web_pods(far)['node-1']['metadata']['name']}"
    wait_for("the pod's MTU", lambda: mtu(far, place, "eth0") == 1500)
    assert far.on("client-1", "curl", "-sS", "-m", "5", f"http://{VIP}")
