"""Throughput and latency hold beside the plain node's, measured with the document's commands.

The nodes' uplinks are shaped to the document's gigabit, so that the figures tell of the data path
and not of two processors that all namespaces share. What is compared takes turns, round by round.
"""

import json
import re
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from lab_run import NODES, VIP, LabRun, run, wait_for
from test_scenario import settled

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.serial]

UPLINKS = ("node-1", "node-2", "node-3")
LINK_MBIT = 1000
SHAPER = ("tbf", "rate", f"{LINK_MBIT}mbit", "burst", "128kb", "latency", "10ms")
ROUNDS, MORE_ROUNDS = 5, 3
PINGS, INTERVAL_S, PING_ROUNDS = 200, "0.01", 12
CLIENT, NEAR, FAR, HOST = "perf-client", "perf-near", "perf-far", "perf-host"


@pytest.fixture(scope="module")
def servers(lab: LabRun) -> Iterator[dict[str, str]]:
    """iperf3 servers on node-2 and in a pod of each node, by name; and a pod to ask from."""
    settled(lab)
    pods = [
        pod(CLIENT, "node-1", "toolbox"),
        pod(NEAR, "node-1", "iperf3"),
        pod(FAR, "node-2", "iperf3"),
        pod(HOST, "node-2", "iperf3", args=["--server", "--port", "5202"], host_network=True),
    ]
    lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    try:
        found = {
            name: wait_for(f"pod {name}", partial(ready_address, lab, name), within_s=40)
            for name in (CLIENT, NEAR, FAR, HOST)
        }
        assert found[HOST] == NODES[1]
        yield found
    finally:
        lab.kubectl("delete", "pod", CLIENT, NEAR, FAR, HOST, "--ignore-not-found")


def pod(
    name: str,
    node: str,
    image: str,
    *,
    args: list[str] | None = None,
    host_network: bool = False,
) -> dict[str, object]:
    container: dict[str, object] = {"name": image, "image": f"cairn.io/lab/{image}"}
    if args:
        container["args"] = args
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "hostNetwork": host_network,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }


def ready_address(lab: LabRun, name: str) -> str:
    status = lab.get("pod", name)["status"]
    ready = any(
        c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())
    )
    return str(status["podIP"]) if ready else ""


@contextmanager
def gigabit(lab: LabRun) -> Iterator[None]:
    """Shape what every node sends to the speed of the document's switch."""
    try:
        for node in UPLINKS:
            run("tc", "-n", lab.netns(node), "qdisc", "replace", "dev", "eth0", "root", *SHAPER)
        yield
    finally:
        for node in UPLINKS:
            run("tc", "-n", lab.netns(node), "qdisc", "del", "dev", "eth0", "root", check=False)


def iperf3(lab: LabRun, host: str, address: str, *more: str) -> float:
    """Run the document's command on a host and return the Mbit/s that arrived."""

    def listening() -> str:
        words = ("iperf3", "-c", address, *more, "-t", "1", "-J")
        text = lab.on(host, *words, check=False)
        return text if "sum_received" in text else ""

    # A server that has just served another test says that it is busy.
    report = json.loads(wait_for(f"iperf3 from {host} to {address}", listening))
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e6


@pytest.mark.parametrize("streams", [(), ("-P", "4")], ids=["one-stream", "four-streams"])
def test_c15_pods_across_nodes_are_as_fast_as_nodes(
    lab: LabRun, servers: dict[str, str], streams: tuple[str, ...]
) -> None:
    inside = f"pod/default/{CLIENT}"
    nodes, pods = [], []
    with gigabit(lab):
        for number in range(ROUNDS * MORE_ROUNDS):
            nodes.append(iperf3(lab, "node-1", servers[HOST], "-p", "5202", *streams))
            pods.append(iperf3(lab, inside, servers[FAR], *streams))
            ratio = statistics.median(pods) / statistics.median(nodes)
            if number + 1 >= ROUNDS and ratio >= 0.99:
                break
    print(
        f"node to node {statistics.median(nodes):.0f} Mbit/s, "
        f"pods {statistics.median(pods):.0f} Mbit/s, ratio {ratio:.3f}, {len(pods)} rounds"
    )
    assert 0.9 * LINK_MBIT < statistics.median(nodes) < LINK_MBIT, "the shaper is the bottleneck"
    assert ratio >= 0.99


@pytest.mark.parametrize("streams", [(), ("-P", "4")], ids=["one-stream", "four-streams"])
def test_c15_pods_of_one_node_never_touch_the_uplink(
    lab: LabRun, servers: dict[str, str], streams: tuple[str, ...]
) -> None:
    with gigabit(lab):
        rates = [
            iperf3(lab, f"pod/default/{CLIENT}", servers[NEAR], *streams) for _ in range(ROUNDS)
        ]
    print(f"pods of one node {statistics.median(rates):.0f} Mbit/s")
    assert statistics.median(rates) > LINK_MBIT


def ping_times(lab: LabRun) -> tuple[list[float], list[float]]:
    """Ping node and service at the same time; return the milliseconds of each answer."""
    command = ("ping", "-c", str(PINGS), "-i", INTERVAL_S)
    both = [lab.start_on("client-1", *command, address) for address in (NODES[0], VIP)]
    found = []
    for process in both:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
        found.append([float(text) for text in re.findall(r"time=([\d.]+) ms", out)])
        assert len(found[-1]) == PINGS
    return found[0], found[1]


def test_c16_the_service_answers_as_soon_as_a_node(lab: LabRun) -> None:
    settled(lab)
    node: list[float] = []
    service: list[float] = []
    for number in range(PING_ROUNDS):
        of_node, of_service = ping_times(lab)
        node += of_node
        service += of_service
        ratio = statistics.median(service) / statistics.median(node)
        if number and ratio <= 1.05:
            break
    print(
        f"node {statistics.median(node):.3f} ms, service {statistics.median(service):.3f} ms, "
        f"ratio {ratio:.2f}, {len(node)} pings each"
    )
    assert ratio <= 1.05
