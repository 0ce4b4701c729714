"""Throughput and times on every path through the lab, against the kernel's plain routing.

    pods, ClusterIP, VIP  ->  Mbit/s and ns per round trip, and the ratio to the plain path

Each path has a twin in plain.py with the same cables and hops. Both take turns, second by second.
Node to node passes the uplink's programs, which leave it alone, and the connection tracking of the
node's own stack, which masquerading pods needs and which the plain nodes do without.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import running
from plain import Plain, built
from row import Aim, Row, compare, take_turns
from running import LabRun, wait_for
from traffic import (
    ECHO_PORT,
    IPERF_PORT,
    Place,
    connection_ns,
    in_lab,
    in_netns,
    mbit_per_s,
    server_commands,
    serving,
    trip_ns,
)

ROUNDS = 5
TRIP_ROUNDS = 15
MANY_SERVICES = 5000
THROUGHPUT, TRIP, CONNECTION = Aim(1.0, at_least=True), Aim(0.92), Aim(0.95)
FAR, NEAR, CLIENT = "bench-far", "bench-near", "bench-client"
SERVICE = "bench"


@dataclass(frozen=True, slots=True)
class Path:
    """One path, and its twin."""

    name: str
    """What it is."""
    meaning: str
    """What it holds that the plain path does not."""
    source: Place
    """Where the client of the lab runs."""
    address: str
    """What it asks."""
    plain_source: Place
    """Where the client of the plain network runs."""
    plain_address: str
    """What that asks."""
    has_aims: bool = True
    """Whether the path is meant to beat the plain one."""


def run() -> list[Row]:
    """Measure every path, and the way through a ClusterIP once more beside many Services."""
    lab = running.lab()
    with built() as plain, pods(lab) as addresses:
        twins = [plain.netns(host) for host in ("node-2", "pod-b", "pod-c")]
        with serving([lab.netns("node-2"), *twins]):
            listed = paths(lab, plain, addresses)
            for path in listed:
                for place, address in (
                    (path.source, path.address),
                    (path.plain_source, path.plain_address),
                ):
                    wait_for(f"{path.name}: {address}", partial(answers, place, address))
            found = [row for path in listed for row in rows(path)]
            with many_services(lab):
                through = next(path for path in listed if path.address == addresses["cluster"])
                beside = replace(through, name=f"{through.name}, {MANY_SERVICES:,} Services")
                return [*found, *rows(beside)]


@contextmanager
def many_services(lab: LabRun) -> Iterator[None]:
    """Let the cluster have many more Services, and every node know them."""
    names = [f"bench-many-{number}" for number in range(MANY_SERVICES)]
    items = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "labels": {"bench": "many"}},
            "spec": {"selector": {"app": FAR}, "ports": [{"port": 80}]},
        }
        for name in names
    ]
    lab.kubectl(
        "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )
    try:
        last = lab.get("service", names[-1])["spec"]["clusterIP"]
        wait_for("the last Service", partial(refuses_or_answers, lab, last), within_s=120)
        yield
    finally:
        lab.kubectl("delete", "service", "-l", "bench=many", "--wait=false")


def refuses_or_answers(lab: LabRun, address: str) -> bool:
    """Return whether sockets of the client's node are translated for this address."""
    script = f"exec 3<>/dev/tcp/{address}/80"
    place = in_lab(lab, f"pod/default/{CLIENT}")
    try:
        place.output("timeout", "1", "bash", "-c", script)
    except AssertionError as error:
        return "refused" in str(error)
    return True


def answers(place: Place, address: str) -> bool:
    """Return whether both servers listen there."""
    try:
        place.output("timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{ECHO_PORT}")
        mbit_per_s(place, address, 1)
    except AssertionError:
        return False
    return True


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of one path."""
    for streams in (1, 4):
        pairs = take_turns(
            partial(mbit_per_s, path.source, path.address, streams),
            partial(mbit_per_s, path.plain_source, path.plain_address, streams),
            ROUNDS,
        )
        plural = "stream" if streams == 1 else "streams"
        aim = THROUGHPUT if path.has_aims else None
        yield compare(f"{path.name}, {streams} {plural}", "Mbit/s", pairs, path.meaning, aim)
    for what, measure, limit in (
        ("round trip", trip_ns, TRIP),
        ("connection", connection_ns, CONNECTION),
    ):
        pairs = take_turns(
            partial(measure, path.source, path.address),
            partial(measure, path.plain_source, path.plain_address),
            TRIP_ROUNDS,
        )
        aim = limit if path.has_aims else None
        yield compare(f"{path.name}, {what}", "ns", pairs, path.meaning, aim)


def paths(lab: LabRun, plain: Plain, addresses: dict[str, str]) -> list[Path]:
    """Return all paths."""
    pod = in_lab(lab, f"pod/default/{CLIENT}")
    plain_pod = in_netns(plain.netns("pod-a"))
    far, near = plain.address("pod-c"), plain.address("pod-b")
    return [
        Path(
            "node to node", "beside the uplink's programs: connection tracking, for masquerade",
            in_lab(lab, "node-1"), running.NODES[1],
            in_netns(plain.netns("node-1")), "192.168.1.11", has_aims=False,
        ),
        Path(
            "pod to pod, one node", "redirected by BPF, the node's stack left out",
            pod, addresses[NEAR], plain_pod, near,
        ),
        Path(
            "pod to pod, across nodes", "redirected by BPF at both nodes",
            pod, addresses[FAR], plain_pod, far,
        ),
        Path(
            "pod to ClusterIP, across nodes", "translated at connect(), no packet touched",
            pod, addresses["cluster"], plain_pod, far,
        ),
        Path(
            "client-1 to VIP", "translated both ways, tracked; the plain path asks the pod itself",
            in_lab(lab, "client-1"), addresses["vip"],
            in_netns(plain.netns("client-1")), far, has_aims=False,
        ),
    ]  # fmt: skip


@contextmanager
def pods(lab: LabRun) -> Iterator[dict[str, str]]:
    """Run client and servers as pods behind a Service; yield the addresses by name."""
    objects = [
        server_pod(NEAR, "node-1"),
        server_pod(FAR, "node-2"),
        pod_object(CLIENT, "node-1", {"sleep": ["sleep", "infinity"]}),
        service_object(),
    ]
    lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    try:
        found = {
            name: wait_for(f"pod {name}", partial(ready_address, lab, name), within_s=40)
            for name in (NEAR, FAR, CLIENT)
        }
        service = wait_for("address of the Service", partial(addressed, lab))
        assert service is not None
        found["cluster"], found["vip"] = service
        wait_for("route to the Service", lambda: lab.next_hops(found["vip"]))
        yield found
    finally:
        lab.kubectl("delete", "service", SERVICE, "--ignore-not-found")
        lab.kubectl("delete", "pod", NEAR, FAR, CLIENT, "--ignore-not-found")


def ready_address(lab: LabRun, name: str) -> str:
    """Return a pod's address once it is ready, else ""."""
    status = lab.get("pod", name)["status"]
    ready = any(
        c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())
    )
    return str(status["podIP"]) if ready else ""


def addressed(lab: LabRun) -> tuple[str, str] | None:
    """Return the Service's cluster address and VIP, once it has that."""
    found = lab.get("service", SERVICE)
    ingress = found["status"].get("loadBalancer", {}).get("ingress")
    return (found["spec"]["clusterIP"], ingress[0]["ip"]) if ingress else None


def server_pod(name: str, node: str) -> dict[str, object]:
    """Return a pod with both servers."""
    iperf, echo = server_commands()
    return pod_object(name, node, {"iperf": iperf, "echo": echo})


def pod_object(name: str, node: str, commands: dict[str, list[str]]) -> dict[str, object]:
    """Return a pod on a node that runs these commands."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {"name": container, "image": "cairn.io/lab/toolbox", "command": command}
                for container, command in commands.items()
            ],
        },
    }


def service_object() -> dict[str, object]:
    """Return the Service in front of the far pod."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "labels": {"io.cilium/lb-ipam-ips": "pool-homelab"}},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": FAR},
            "ports": [{"name": "iperf", "port": IPERF_PORT}, {"name": "echo", "port": ECHO_PORT}],
        },
    }
