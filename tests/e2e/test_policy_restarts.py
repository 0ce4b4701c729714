"""What is allowed goes on and what is not never passes, whichever part of the system dies."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lab_run import PYTHON, ROOT, LabRun, Talk, run, wait_for
from test_resilience import group_of
from test_scenario import is_ready

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(600)]

BEDS = ROOT / "tests" / "beds"
PER_S = 200
NAME, FORBIDDEN_NAME = "allowed.example.org", "forbidden.example.org"
ALLOWED, FORBIDDEN, OUTSIDE = "192.168.50.21", "192.168.50.22", "192.168.50.10"
NAMESPACE = "judged"
PROCESSES = {
    "agent": "cairn agent",
    "dns": "cairn dns",
    "envoy": "envoy/_bin/envoy",
    "API server": "cairn api ",
}
CLIENT = {"app": "judged"}
STEADY_S = 3.0


def policies() -> list[dict[str, Any]]:
    """Return the rules: requests by path, names by rule, all else closed."""
    from_client = {
        "matchLabels": {**CLIENT, "io.kubernetes.pod.namespace": NAMESPACE},
    }
    web = {"tier": "web", "io.kubernetes.pod.namespace": "production"}
    dns = {"k8s-app": "kube-dns", "io.kubernetes.pod.namespace": "kube-system"}
    return [
        policy(
            "production",
            {"tier": "web"},
            ingress=[
                {
                    "fromEndpoints": [from_client],
                    "toPorts": [
                        {
                            "ports": [{"port": "8080", "protocol": "TCP"}],
                            "rules": {"http": [{"method": "GET", "path": "/public"}]},
                        }
                    ],
                }
            ],
        ),
        policy(
            NAMESPACE,
            CLIENT,
            egress=[
                {"toEndpoints": [{"matchLabels": web}]},
                {
                    "toEndpoints": [{"matchLabels": dns}],
                    "toPorts": [
                        {
                            "ports": [{"port": "53", "protocol": "ANY"}],
                            "rules": {"dns": [{"matchName": NAME}]},
                        }
                    ],
                },
                {
                    "toFQDNs": [{"matchName": NAME}],
                    "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}],
                },
            ],
        ),
    ]


def policy(namespace: str, labels: dict[str, str], **rules: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "judged", "namespace": namespace},
        "spec": {"endpointSelector": {"matchLabels": labels}, **rules},
    }


def client() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": NAMESPACE, "labels": CLIENT},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "toolbox"}],
        },
    }


@pytest.fixture(scope="module")
def outside(lab: LabRun) -> Iterator[None]:
    """Names and addresses on the LAN that the cluster's DNS knows of."""
    for address in (ALLOWED, FORBIDDEN):
        lab.on("client-1", "ip", "address", "add", f"{address}/24", "dev", "eth0")
    names = f"{NAME}={ALLOWED}", f"{FORBIDDEN_NAME}={FORBIDDEN}"
    world = Talk(lab, "client-1", PYTHON, str(BEDS / "outside.py"), *names)
    deployment = lab.get("deployment", "-n", "kube-system", "kube-dns")
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    try:
        set_command(lab, [*command, f"--upstream={OUTSIDE}"])
        yield
    finally:
        set_command(lab, command)
        world.end()
        for address in (ALLOWED, FORBIDDEN):
            lab.on("client-1", "ip", "address", "del", f"{address}/24", "dev", "eth0")


def set_command(lab: LabRun, command: list[str]) -> None:
    containers = [{"name": "dns", "command": command}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    lab.kubectl("patch", "-n", "kube-system", "deployment", "kube-dns", "-p", json.dumps(patch))
    lab.kubectl("rollout", "status", "-n", "kube-system", "deployment/kube-dns", "--timeout=60s")


@pytest.fixture(scope="module")
def web(lab: LabRun, outside: None) -> Iterator[str]:
    """Where the judged web server is; its client and the policies stand."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    items = [namespace, client(), *policies()]
    lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    try:
        lab.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s", "pod/client")
        (pod,) = lab.pods("tier=web", "production")
        yield f"{pod['status']['podIP']}:8080"
    finally:
        lab.kubectl("delete", "namespace", NAMESPACE, "--wait=true")
        lab.kubectl("delete", "ciliumnetworkpolicy", "-n", "production", "judged")


def processes(lab: LabRun, what: str) -> set[str]:
    """Return the processes of one part of this lab."""
    found = run("pgrep", "-f", PROCESSES[what], check=False).split()
    mine = f"/cairn-{lab.name}/"
    if what == "API server":
        return {pid for pid in found if "control-plane" in group_of(pid) and mine in group_of(pid)}
    return {pid for pid in found if mine in group_of(pid)}


def kill(lab: LabRun, what: str) -> None:
    """Kill every process of one part, and wait until others have taken their place."""
    before = wait_for(f"{what} to run", lambda: processes(lab, what))
    for pid in before:
        run("kill", "-9", pid, check=False)

    def back() -> bool:
        now = processes(lab, what)
        return len(now) >= len(before) and not now & before and is_whole(lab)

    wait_for(f"another {what}", back, within_s=120)


def is_whole(lab: LabRun) -> bool:
    try:
        return all(map(is_ready, lab.get("pods", "-n", "kube-system")["items"]))
    except AssertionError:
        return False  # the API server is on its way back


def test_nothing_allowed_is_refused_and_nothing_denied_passes(lab: LabRun, web: str) -> None:
    words = (PYTHON, str(BEDS / "judged.py"), web, NAME, FORBIDDEN_NAME, FORBIDDEN, str(PER_S))
    judged = Talk(lab, f"pod/{NAMESPACE}/client", *words)
    began = time.monotonic()
    reports: dict[str, Any] = {}

    def note(what: str) -> None:
        reports[what] = judged.ask()
        print(f"{time.monotonic() - began:.0f} s, {what}: {reports[what]}")

    def steady() -> bool:
        done = judged.ask()["good"].get("name", 0)
        return bool(done > reports["before"]["good"].get("name", 0) + PER_S // 5 * STEADY_S)

    note("before")
    wait_for("all kinds to go on", steady)
    for what in PROCESSES:
        kill(lab, what)
        note(f"{what} killed")
        reports["before"] = reports[f"{what} killed"]
        wait_for(f"all kinds to go on after {what}", steady)
    note("the end")
    judged.close()
    last = reports["the end"]
    assert last["bad"] == {}
    assert set(last["good"]) == {
        "request", "denied request", "name", "forbidden name", "forbidden address"
    }  # fmt: skip
    assert min(last["good"].values()) > (time.monotonic() - began) * PER_S / 5 * 0.5
