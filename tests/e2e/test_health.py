"""A node notices by itself that its backend is dead, long before the kubelet asks again."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab_run import PYTHON, ROOT, LabRun, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

NAMESPACE = "health"
ANSWER = str(ROOT / "tests" / "beds" / "answer.py")
LABELS = {"health": "yes"}
SELDOM = {"periodSeconds": 60, "failureThreshold": 10}
"""The kubelet is no help: it asks once a minute, and believes the tenth failure."""
LOOP = f"while :; do {PYTHON} {ANSWER} one 8080; while [ -e /tmp/down ]; do sleep 0.1; done; done"


def pod(name: str, node: str, probe: dict[str, Any], command: list[str] | None) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "main",
        "image": "toolbox" if command else "cairn.io/lab/web",
        "ports": [{"name": "answers", "containerPort": 8080}],
        "readinessProbe": {**probe, **SELDOM},
    }
    if command:
        container["command"] = command
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }


def service(name: str, address: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": LABELS,
            "annotations": {"lbipam.cilium.io/ips": address},
        },
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": name},
            "ports": [{"port": 80, "targetPort": "answers"}],
            **spec,
        },
    }


POOL = {
    "apiVersion": "cilium.io/v2alpha1",
    "kind": "CiliumLoadBalancerIPPool",
    "metadata": {"name": "health"},
    "spec": {
        "blocks": [{"cidr": "192.168.1.232/29"}],
        "serviceSelector": {"matchLabels": LABELS},
    },
}
TCP = {"tcpSocket": {"port": 8080}}
HTTP = {"httpGet": {"path": "/healthz", "port": "answers"}}
PORTS = ("192.168.1.233", "192.168.1.234", "192.168.1.235")
OBJECTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    pod("hangs", "node-1", HTTP, None),
    service("hangs", PORTS[0]),
    pod("closes", "node-2", TCP, ["sh", "-c", LOOP]),
    service("closes", PORTS[1]),
    pod("local", "node-3", TCP, ["sh", "-c", LOOP]),
    service("local", PORTS[2], externalTrafficPolicy="Local"),
]


@pytest.fixture(scope="module")
def bed(lab: LabRun) -> Iterator[LabRun]:
    try:
        lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": [POOL, *OBJECTS]}))
        names = [f"pod/{name}" for name in ("hangs", "closes", "local")]
        lab.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s", *names)
        for address in PORTS:
            wait_for(f"a route to {address}", lambda to=address: lab.next_hops(to))  # type: ignore[misc]
        yield lab
    finally:
        lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false", check=False)
        lab.kubectl("delete", "ciliumloadbalancerippool", "health", check=False)


def process_of(lab: LabRun, name: str, word: str) -> int:
    """Return the process of a pod whose command line has `word`."""
    uid = lab.get("pod", "-n", NAMESPACE, name)["metadata"]["uid"]

    def found() -> int | None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                inside = uid in (folder / "cgroup").read_text()
                if inside and word.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                    return int(folder.name)
            except OSError:
                continue
        return None

    pid = wait_for(f"a process {word} of pod {name}", found)
    assert pid is not None
    return pid


def until_route(lab: LabRun, address: str, *, there: bool, since: float) -> float:
    """Return how long after `since` the router's kernel had, or had no, route to `address`."""
    what = f"route to {address} {'there' if there else 'gone'}"
    wait_for(what, lambda: bool(lab.next_hops(address)) == there, within_s=10)
    return time.monotonic() - since


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process, as one that hangs, and let it go on afterwards."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def closed(lab: LabRun, name: str) -> Iterator[float]:
    """End a pod's server, keep its port closed, and start it again afterwards; yields when."""
    lab.on(f"pod/{NAMESPACE}/{name}", "touch", "/tmp/down")
    try:
        began = time.monotonic()
        os.kill(process_of(lab, name, ANSWER), signal.SIGKILL)
        yield began
    finally:
        lab.on(f"pod/{NAMESPACE}/{name}", "rm", "-f", "/tmp/down")


def events(lab: LabRun, reason: str) -> list[str]:
    found = lab.get("events", "-n", NAMESPACE)["items"]
    return [event["message"] for event in found if event["reason"] == reason]


def test_a_backend_that_hangs_is_withdrawn_and_comes_back(bed: LabRun) -> None:
    address = PORTS[0]
    with stopped(process_of(bed, "hangs", "cairn.lab.images.web")):
        gone_s = until_route(bed, address, there=False, since=time.monotonic())
        assert gone_s < 3
        status = bed.cairn("status", check=False)
        assert "10.244.1." in status
        assert "no answer within 1 s" in status
    back_s = until_route(bed, address, there=True, since=time.monotonic())
    assert back_s < 3
    assert bed.web(url=f"http://{address}")["node"] == "node-1"
    wait_for("Events", lambda: events(bed, "BackendEjected") and events(bed, "BackendRestored"))


def test_a_port_that_closes_is_withdrawn_at_once_and_comes_back(bed: LabRun) -> None:
    address = PORTS[1]
    with closed(bed, "closes") as began:
        assert until_route(bed, address, there=False, since=began) < 1
        told = wait_for(
            "the annotation",
            lambda: bed.get("ciliumnode", "node-2")["metadata"]["annotations"].get(
                "cairn.io/ejected"
            ),
        )
        assert ":8080/TCP connection refused" in str(told)
    assert until_route(bed, address, there=True, since=time.monotonic()) < 5
    annotations = bed.get("ciliumnode", "node-2")["metadata"]["annotations"]
    assert "10.244.2" not in annotations.get("cairn.io/ejected", "")


def asked(lab: LabRun, port: int, address: str) -> tuple[int, str, dict[str, Any]]:
    """Ask a healthCheckNodePort; return status, weight and body."""
    text = lab.on("client-2", "curl", "-sS", "-i", "--max-time", "5", f"http://{address}:{port}/")
    head, _, body = text.replace("\r", "").partition("\n\n")
    weight = next(
        (line.split(": ")[1] for line in head.splitlines() if line.lower().startswith("x-load")), ""
    )
    return int(head.split()[1]), weight, json.loads(body)


def internal_ips(lab: LabRun, node: str) -> list[str]:
    """Return a node's addresses of both families, as a URL has them."""
    entries = lab.get("node", node)["status"]["addresses"]
    found = [entry["address"] for entry in entries if entry["type"] == "InternalIP"]
    return [f"[{address}]" if ":" in address else address for address in found]


def test_the_health_check_node_port_tells_who_has_a_backend(bed: LabRun) -> None:
    port = bed.get("service", "-n", NAMESPACE, "local")["spec"]["healthCheckNodePort"]
    service = {"namespace": NAMESPACE, "name": "local"}
    for node, count, status in (("node-3", 1, 200), ("node-1", 0, 503)):
        body = {"service": service, "localEndpoints": count, "serviceProxyHealthy": True}
        for address in internal_ips(bed, node):
            assert asked(bed, port, address) == (status, str(count), body)


def test_the_health_check_node_port_follows_the_backend(bed: LabRun) -> None:
    port = bed.get("service", "-n", NAMESPACE, "local")["spec"]["healthCheckNodePort"]
    with closed(bed, "local"):
        wait_for("503", lambda: asked(bed, port, "192.168.1.12")[0] == 503, within_s=5)
    wait_for("200", lambda: asked(bed, port, "192.168.1.12")[0] == 200, within_s=5)
