"""What fails is survived: processes killed, pods deleted, nodes leaving, under load."""

import json
import time
from functools import partial
from typing import Any

import pytest
from lab_run import NODES, PYTHON, VIP, LabRun, Talk, run, wait_for
from test_scenario import WEB, is_ready, settled

pytestmark = [pytest.mark.lab, pytest.mark.root]

LOAD = __file__.replace("test_resilience.py", "load.py")


class Load:
    """Requests at a steady rate from client-1, in the background."""

    def __init__(self, lab: LabRun, per_s: int, seconds: float) -> None:
        self._process = lab.start_on(
            "client-1", PYTHON, LOAD, "rate", f"http://{VIP}/", str(per_s), str(seconds)
        )

    def result(self) -> dict[str, Any]:
        out, err = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, err
        return dict(json.loads(out))


def hold(lab: LabRun, count: int) -> Talk:
    """Return established connections from client-1."""
    return Talk(lab, "client-1", PYTHON, LOAD, "hold", VIP, "80", str(count))


def test_no_request_fails_when_a_pod_is_deleted_gracefully(lab: LabRun) -> None:
    settled(lab)
    load = Load(lab, 200, 6)
    time.sleep(1)
    lab.kubectl("delete", "pod", lab.pods(WEB)[0]["metadata"]["name"])
    result = load.result()
    assert result["failures"] == {}
    assert result["sent"] >= 1190
    settled(lab)


def test_connections_survive_a_rehash(lab: LabRun) -> None:
    """A node without a backend announces too, leaves and comes back: ECMP re-hashes."""
    pods = lab.pods(WEB)
    lab.kubectl("annotate", "service", "my-web-app", "cairn.io/announce=all-nodes")
    lab.cairn("lab", "node", "--name", lab.name, "add")
    try:
        wait_for("four next hops", lambda: len(lab.next_hops()) == 4)
        assert {pod["status"]["hostIP"] for pod in pods} == set(NODES)
        held = hold(lab, 1000)
        assert held.begun["open"] == 1000
        lab.cairn("lab", "node", "--name", lab.name, "remove", "node-4")
        wait_for("three next hops", lambda: len(lab.next_hops()) == 3)
        assert held.ask() == {"broken": 0, "why": {}, "moved": 0}
        lab.cairn("lab", "node", "--name", lab.name, "add")
        wait_for("four next hops", lambda: len(lab.next_hops()) == 4)
        assert held.ask() == {"broken": 0, "why": {}, "moved": 0}
        held.close()
    finally:
        lab.kubectl("annotate", "service", "my-web-app", "cairn.io/announce-")
        lab.cairn("lab", "node", "--name", lab.name, "remove", "node-4", check=False)
    settled(lab)


def test_rollouts_of_everything_lose_no_request(lab: LabRun) -> None:
    settled(lab)
    load = Load(lab, 200, 12)
    time.sleep(0.5)
    daemons = ("-n", "kube-system", "daemonset/cairn")
    lab.kubectl("rollout", "restart", *daemons)
    lab.kubectl("rollout", "status", *daemons, "--timeout=60s")
    lab.kubectl("rollout", "restart", "deployment/my-web-app")
    lab.kubectl("rollout", "status", "deployment/my-web-app", "--timeout=60s")
    assert load.result()["failures"] == {}
    settled(lab)


@pytest.mark.parametrize("victim", ["agent", "operator", "api", "controllers", "kubelet-node-1"])
def test_killing_a_process_loses_no_request_and_no_address(lab: LabRun, victim: str) -> None:
    settled(lab)
    before = lab.get("service", "my-web-app")["status"]
    load = Load(lab, 100, 6)
    time.sleep(0.5)
    kill(lab, victim)
    assert load.result()["failures"] == {}

    def recovered() -> bool:
        try:
            return is_whole(lab)
        except AssertionError:
            return False

    wait_for(f"recovery from the death of {victim}", recovered, within_s=40)
    assert lab.get("service", "my-web-app")["status"]["loadBalancer"] == before["loadBalancer"]
    settled(lab)


def is_whole(lab: LabRun) -> bool:
    system = lab.get("pods", "-n", "kube-system")["items"]
    return all(map(is_ready, system)) and lab.next_hops() == list(NODES)


def kill(lab: LabRun, victim: str) -> None:
    """Kill -9 one process of the lab, found by its control group's processes."""
    patterns = {
        "agent": "cairn agent",
        "operator": "cairn operator",
        "speaker": "cairn speaker",
        "api": f"cairn api .*{lab.name}",
        "controllers": f"lab controllers .*{lab.name}",
        "kubelet-node-1": f"lab kubelet .*--lab {lab.name} .*node-1",
    }
    found = run("pgrep", "-f", patterns[victim]).split()
    ours = [pid for pid in found if f"/cairn-{lab.name}/" in group_of(pid)]
    assert ours, f"no process of {victim}"
    for pid in ours:
        run("kill", "-9", pid)


def group_of(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def test_an_acknowledged_write_survives_the_servers_death(lab: LabRun) -> None:
    for number in range(5):
        name = f"durable-{number}"
        lab.kubectl("create", "configmap", name, f"--from-literal=n={number}")
        kill(lab, "api")
        found = wait_for("the server", partial(read_config_map, lab, name))
        assert found == {"n": str(number)}
        lab.kubectl("delete", "configmap", name)


def read_config_map(lab: LabRun, name: str) -> dict[str, str]:
    text = lab.kubectl("get", "configmap", name, "-o", "json", check=False)
    return dict(json.loads(text)["data"]) if text else {}
