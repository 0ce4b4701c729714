"""No connection is lost while any part of the control plane dies, is upgraded or comes back."""

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from lab_run import PYTHON, ROOT, LabRun, Talk, run, wait_for
from service_bed import PORT, pools, server, service
from test_resilience import group_of, kill
from test_scenario import is_ready

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(900)]

STREAM = str(ROOT / "tests" / "beds" / "stream.py")
HELD = 2000
NEW_PER_S = 500
BIGGER = "conntrack=262144,services=131072"


@pytest.fixture(scope="module")
def vip(lab: LabRun) -> Iterator[str]:
    """The address of a Service with a light server on every node."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kinds"}}
    pods = [
        server(f"light-{number}", f"node-{number}", PORT, labels={"app": "light"})
        for number in (1, 2, 3)
    ]
    light = service("light", {"app": "light"}, type="LoadBalancer", ipFamilyPolicy="SingleStack")
    items = [namespace, *pools(), *pods, light]
    lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    try:
        names = [f"pod/{pod['metadata']['name']}" for pod in pods]
        lab.kubectl("wait", "-n", "kinds", "--for=condition=Ready", "--timeout=60s", *names)

        def given() -> str:
            status = lab.get("service", "-n", "kinds", "light")["status"]
            return "".join(e["ip"] for e in status.get("loadBalancer", {}).get("ingress", ()))

        address = wait_for("the address", given)
        wait_for("three next hops", lambda: len(lab.next_hops(address)) == 3)
        yield address
    finally:
        lab.kubectl("delete", "namespace", "kinds", "--wait=true")
        lab.kubectl("delete", "ciliumloadbalancerippools", "kinds", "nobody")


def whole(lab: LabRun, address: str) -> bool:
    """Return whether the system's pods are ready and three nodes announce the address."""
    try:
        system = lab.get("pods", "-n", "kube-system")["items"]
    except AssertionError:
        return False  # the API server is on its way back
    return all(map(is_ready, system)) and len(lab.next_hops(address)) == 3


def agents(lab: LabRun) -> list[str]:
    """Return the agents' processes."""
    found = run("pgrep", "-f", "cairn agent", check=False).split()
    return [pid for pid in found if f"/cairn-{lab.name}/" in group_of(pid)]


def kill_agents(lab: LabRun, vip: str) -> None:
    """Kill every node's agent and wait until each is back."""
    before = agents(lab)
    assert len(before) == 3
    kill(lab, "agent")

    def back() -> bool:
        now = agents(lab)
        return len(now) == 3 and not set(now) & set(before) and whole(lab, vip)

    wait_for("three new agents", back, within_s=200)


def kill_and_wait(lab: LabRun, vip: str, victim: str) -> None:
    """Kill one part and wait until all is as it was."""
    kill(lab, victim)
    wait_for(f"recovery of {victim}", lambda: whole(lab, vip), within_s=60)


def upgrade(lab: LabRun) -> None:
    """Roll out agents with other programs and a larger connection map."""
    change = {
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "agent", "env": [{"name": "CAIRN_MAP_SIZES", "value": BIGGER}]}
                    ]
                }
            }
        }
    }
    lab.kubectl("patch", "-n", "kube-system", "daemonset", "cairn", "-p", json.dumps(change))
    lab.kubectl("rollout", "status", "-n", "kube-system", "daemonset/cairn", "--timeout=90s")


KILLS = int(os.environ.get("CAIRN_KILLS", "2"))
"""How often the agents are killed before their upgrade, and again after it. The kubelet waits
longer each time before it starts one again: five take minutes."""


def test_no_connection_is_lost_while_the_control_plane_dies(lab: LabRun, vip: str) -> None:
    # New pods, or the kubelet would remember how often others were killed before.
    lab.kubectl("rollout", "restart", "-n", "kube-system", "daemonset/cairn")
    lab.kubectl("rollout", "status", "-n", "kube-system", "daemonset/cairn", "--timeout=90s")
    wait_for("a whole lab", lambda: whole(lab, vip), within_s=60)
    steps: list[tuple[str, Callable[[], None]]] = [
        *(("agents killed", partial(kill_agents, lab, vip)) for _ in range(KILLS)),
        ("agents upgraded", partial(upgrade, lab)),
        *(("agents killed again", partial(kill_agents, lab, vip)) for _ in range(KILLS)),
        ("speakers killed", partial(kill_and_wait, lab, vip, "speaker")),
        ("operator killed", partial(kill_and_wait, lab, vip, "operator")),
        ("API server killed", partial(kill_and_wait, lab, vip, "api")),
    ]
    words = (PYTHON, STREAM, vip, "80", str(HELD), str(NEW_PER_S))
    stream = Talk(lab, "client-1", *words)
    assert stream.begun == {"held": HELD}
    began = time.monotonic()
    lost: dict[str, Any] = {}
    for number, (name, step) in enumerate(steps, 1):
        step()
        report = stream.ask()
        print(f"{time.monotonic() - began:.0f} s, {number} {name}: {report}")
        if report["lost"] and not lost:
            lost = {name: report}
    stream.close()
    assert lost == {}
    assert report["asked"] > HELD
    assert report["opened"] > (time.monotonic() - began) * NEW_PER_S * 0.5
