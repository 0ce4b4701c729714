"""`cairn lab up` as people type it: a cluster that is whole, heals, and goes without a trace."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cairn.lab import control
from cairn.lab.state import Lab, load_lab
from cairn.lab.teardown import find_traces, recorded_or_bare, take_down
from cairn.linux import namespace

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.xdist_group("lab_up"),
]

CAIRN = [sys.executable, "-m", "cairn"]


def cairn(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CAIRN, *words], capture_output=True, text=True, timeout=180, check=False
    )


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    name = f"ct{uuid.uuid4().hex[:8]}"
    try:
        up = cairn("lab", "up", "--name", name, "--nodes", "1", "--no-scenario")
        assert up.returncode == 0, up.stdout + up.stderr
        yield load_lab(name)
    finally:
        take_down(recorded_or_bare(name))
        assert not find_traces(Lab(name))


def status(lab: Lab) -> dict[str, Any]:
    view: dict[str, Any] = json.loads(
        cairn("lab", "status", "--name", lab.name, "-o", "json").stdout
    )
    return view


def eventually(check: Callable[[], Any], deadline_s: float = 40.0) -> None:
    end = time.monotonic() + deadline_s
    while not check():
        assert time.monotonic() < end, "the condition did not come to hold"
        time.sleep(0.2)


def test_status_tells_of_everything_and_says_it_is_well(lab: Lab) -> None:
    view = status(lab)
    assert view["healthy"], view
    assert {host["name"] for host in view["hosts"]} == {
        *("router", "control-plane", "node-1", "client-1", "client-2")
    }
    assert {p["name"] for p in view["processes"]} == {
        *("api", "router", "controllers", "kubelet-node-1")
    }
    assert cairn("lab", "status", "--name", lab.name).returncode == 0


def test_second_up_says_that_it_is_up(lab: Lab) -> None:
    before = {row["name"]: row["identity"] for row in control.processes(lab)}
    again = cairn("lab", "up", "--name", lab.name, "--no-scenario")
    assert again.returncode == 0, again.stderr
    assert "was up already" in again.stdout
    assert {row["name"]: row["identity"] for row in control.processes(lab)} == before


@pytest.mark.parametrize("choice", [("--nodes", "2"), ("--router", "bird"), ("--state", "/tmp")])
def test_another_lab_of_that_name_is_refused(lab: Lab, choice: tuple[str, str]) -> None:
    other = cairn("lab", "up", "--name", lab.name, "--no-scenario", *choice)
    assert other.returncode == 1
    assert "is up already, with" in other.stderr
    assert len(other.stderr.splitlines()) == 1


def test_kubeconfig_works_on_the_machine_and_inside(lab: Lab) -> None:
    path = cairn("lab", "kubeconfig", "--name", lab.name).stdout.strip()
    outside = subprocess.run(
        ["kubectl", "--kubeconfig", path, "get", "nodes", "-o", "name"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outside.stdout == "node/node-1\n", outside.stderr
    inside = cairn("lab", "exec", "--name", lab.name, "client-1", "--", "kubectl", "get", "nodes")
    assert "node-1" in inside.stdout, inside.stderr


@pytest.mark.parametrize("name", ["api", "router", "controllers", "kubelet-node-1"])
def test_killed_process_comes_back_and_the_lab_is_well(lab: Lab, name: str) -> None:
    assert cairn("lab", "fault", "--name", lab.name, "kill", name).returncode == 0
    eventually(lambda: status(lab)["healthy"])


def test_up_heals_a_lost_host_and_a_killed_supervisor(lab: Lab) -> None:
    os.kill(int((lab.run / "supervise.lock").read_text()), signal.SIGKILL)
    namespace.delete(lab.netns("client-1"))
    assert not status(lab)["healthy"]
    again = cairn("lab", "up", "--name", lab.name, "--no-scenario")
    assert again.returncode == 0, again.stderr
    assert "was up already" not in again.stdout
    assert status(lab)["healthy"]


def test_up_starts_a_lost_router_anew(lab: Lab) -> None:
    namespace.delete(lab.netns("router"))
    again = cairn("lab", "up", "--name", lab.name, "--no-scenario")
    assert again.returncode == 0, again.stderr
    router = next(row for row in control.processes(lab) if row["name"] == "router")
    inside = os.stat(f"/proc/{router['identity']['pid']}/ns/net").st_ino
    assert inside == namespace.inode(lab.netns("router"))


def test_manifests_of_the_user_are_applied(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\ndata: {colour: blue}\n"
    )
    up = cairn("lab", "up", "--name", lab.name, "--no-scenario", "--manifests", str(tmp_path))
    assert up.returncode == 0, up.stderr
    found = subprocess.run(
        ["kubectl", "--kubeconfig", str(lab.kubeconfig), "get", "configmap", "mine", "-o", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(found.stdout)["data"] == {"colour": "blue"}


def test_node_joins_and_leaves(lab: Lab) -> None:
    joined = cairn("lab", "node", "--name", lab.name, "add")
    assert joined.returncode == 0, joined.stderr
    assert "node-2 is Ready" in joined.stdout
    left = cairn("lab", "node", "--name", lab.name, "remove", "node-2")
    assert left.returncode == 0, left.stderr
    assert not namespace.exists(lab.netns("node-2"))
    assert {node["name"] for node in status(lab)["nodes"]} == {"node-1"}
    eventually(lambda: status(lab)["healthy"])
