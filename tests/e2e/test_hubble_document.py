"""C10 and C11 of the reference document: its `hubble` commands, typed on client-1."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guide_run import Step, missing, parse
from lab_run import CAIRN, PYTHON, ROOT, LabRun, wait_for
from test_policies import Pod, connects, pod

pytestmark = [pytest.mark.lab, pytest.mark.root]

HEADER = (
    "TIMESTAMP             SOURCE                    DESTINATION               TYPE      VERDICT"
)
WEB_TO_DATABASE = ("--from-pod", "production/web-app", "--to-pod", "production/database")
API = """
apiVersion: v1
kind: Pod
metadata: {name: database-api, namespace: production, labels: {app: database-api}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: cairn.io/lab/web, ports: [{containerPort: 8080}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api-reads-only, namespace: production}
spec:
  endpointSelector: {matchLabels: {app: database-api}}
  ingress:
  - fromEndpoints: [{matchLabels: {tier: web}}]
    toPorts:
    - ports: [{port: "8080", protocol: TCP}]
      rules: {http: [{method: GET}]}
"""
CLOSED = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: database-closed, namespace: production}
spec:
  endpointSelector: {matchLabels: {tier: database}}
  ingress: [{fromEndpoints: [{matchLabels: {app: backup}}]}]
"""
STEPS = [
    step for step in parse((ROOT / "docs" / "hubble.md").read_text()) if isinstance(step, Step)
]
DENIED = "DENIED by CiliumNetworkPolicy production/database-closed"


@dataclass(frozen=True)
class Tiers:
    """Who talks."""

    web: Pod
    database: Pod
    api: Pod


@pytest.fixture(scope="module")
def tiers(lab: LabRun) -> Iterator[Tiers]:
    """The scenario's web and database, and a database with an HTTP API that a policy judges."""
    lab.apply(API)
    yield Tiers(
        pod(lab, "production", "tier=web"),
        pod(lab, "production", "tier=database"),
        pod(lab, "production", "app=database-api"),
    )
    lab.kubectl("delete", "cnp", "-n", "production", "--all")
    lab.kubectl("delete", "pod", "-n", "production", "database-api")


@pytest.fixture(scope="module")
def forwarded(lab: LabRun) -> Iterator[None]:
    """The document's port-forward, on client-1, whose port 4245 no other lab can hold."""
    words = ("kubectl", "port-forward", "-n", "kube-system", "svc/hubble-relay", "4245:80")
    forward = lab.start_on("client-1", *words)
    try:
        assert forward.stdout
        assert forward.stdout.readline() == "Forwarding from 127.0.0.1:4245 -> 4245\n"
        yield
    finally:
        forward.terminate()
        forward.wait(20)


def hubble(lab: LabRun, *words: str) -> str:
    """Return what `hubble` prints on client-1."""
    return lab.on("client-1", str(Path(CAIRN).with_name("hubble")), *words)


def observed(lab: LabRun, *words: str) -> list[list[str]]:
    """Return the rows of `hubble observe`, without the header that they must have."""
    lines = hubble(lab, "observe", *words).splitlines()
    if not lines:
        return []
    assert lines[0].split() == HEADER.split()
    return [line.split(maxsplit=4) for line in lines[1:]]


def test_enable_says_that_the_relay_is_there(lab: LabRun) -> None:
    said = wait_for("the nodes", lambda: "3 of 3 nodes" in lab.cairn("hubble", "enable"))
    assert said
    assert lab.cairn("hubble", "enable").startswith("The relay is there already: ")


def test_c10_flows_of_both_layers_with_verdicts(lab: LabRun, tiers: Tiers, forwarded: None) -> None:
    def seen() -> set[tuple[str, str]]:
        assert connects(lab, tiers.web.host, tiers.database.address, 5432)
        url = f"http://{tiers.api.address}:8080/"
        lab.on(tiers.web.host, "curl", "-sS", "--max-time", "5", url, check=False)
        rows = observed(lab, *WEB_TO_DATABASE)
        for _, source, destination, _, _ in rows:
            assert source == f"production/{tiers.web.name}"
            assert destination.startswith("production/database")
        return {(layer, verdict.split()[0]) for _, _, _, layer, verdict in rows}

    wanted = {("L4", "ALLOWED"), ("L7", "ALLOWED")}
    wait_for("both layers", lambda: wanted <= seen(), within_s=30)


def test_c11_what_was_dropped_and_by_which_policy(
    lab: LabRun, tiers: Tiers, forwarded: None
) -> None:
    words = (str(Path(CAIRN).with_name("hubble")), "observe", "--verdict", "DENIED", "-f")
    mine, theirs = f"production/{tiers.web.name}", f"production/{tiers.database.name}"
    follow = lab.start_on("client-1", *words)
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(follow.stdout or ()), daemon=True).start()
    try:
        lab.apply(CLOSED)

        def told() -> list[list[str]]:
            connects(lab, tiers.web.host, tiers.database.address, 5432)
            return [row for line in lines if (row := line.split(maxsplit=4))[1] == mine]

        rows = wait_for("a drop", told, within_s=30)
        assert rows[0][2:] == [theirs, "L4", f"{DENIED}\n"]
        assert lines[0].split() == HEADER.split()
    finally:
        follow.terminate()
        follow.wait(20)
    denied = [row for row in observed(lab, "--verdict", "DENIED", "--all") if row[1] == mine]
    assert {row[4] for row in denied if row[3] == "L4"} == {DENIED}
    assert "by CiliumNetworkPolicy production/database-closed)" in hubble(
        lab, "observe", *WEB_TO_DATABASE, "--verdict", "DROPPED", "-o", "compact"
    )


def test_any_client_of_that_api(lab: LabRun, tiers: Tiers, forwarded: None, tmp_path: Path) -> None:
    """Classes made from the .proto files by protoc, in a program that has nothing of ours."""
    protos = ROOT / "proto"
    files = [str(path.relative_to(protos)) for path in protos.rglob("*.proto")]
    generate = [PYTHON, "-m", "grpc_tools.protoc", f"-I{protos}", f"--python_out={tmp_path}",
                f"--grpc_python_out={tmp_path}", *files]  # fmt: skip
    subprocess.run(generate, check=True)
    for folder in {tmp_path / Path(name).parent for name in files}:
        (folder / "__init__.py").touch()
    client = str(ROOT / "tests" / "e2e" / "any_client.py")
    found = json.loads(lab.on("client-1", PYTHON, client, str(tmp_path), "localhost:4245"))
    assert found == {
        "nodes": ["node-1", "node-2", "node-3"],
        "status": 3,
        "denied_by": ["database-closed"],
        "reasons": ["POLICY_DENIED"],
    }


def test_without_a_port_forward_it_finds_its_own_way(lab: LabRun, tiers: Tiers) -> None:
    words = ("hubble", "observe", *WEB_TO_DATABASE, "-o", "jsonpb", "--last", "5")
    rows = [json.loads(line) for line in lab.cairn(*words).splitlines()]
    flows = [row["flow"] for row in rows if "flow" in row]
    assert len(flows) == 5
    assert {flow["source"]["pod_name"] for flow in flows} == {tiers.web.name}


@pytest.mark.parametrize("step", STEPS, ids=[step.command for step in STEPS])
def test_the_guide_as_written(lab: LabRun, step: Step, tmp_path: Path) -> None:
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", step.command],
        env=os.environ | {"KUBECONFIG": lab.kubeconfig, "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == step.status, printed
    assert missing(step.shown, printed) is None, printed


def test_an_unknown_pod_is_a_warning(lab: LabRun) -> None:
    done = asked(lab, "hubble", "observe", "--pod", "production/nobody")
    assert done.returncode == 0
    assert "neither the cluster nor any flow has a pod production/nobody" in done.stderr


def test_disable_and_enable(lab: LabRun) -> None:
    assert lab.cairn("hubble", "disable") == "The relay is removed.\n"
    assert lab.cairn("hubble", "disable") == "There was no relay.\n"
    done = asked(lab, "hubble", "status")
    assert done.returncode == 1
    assert "start one with `cairn hubble enable`" in done.stderr
    assert lab.cairn("hubble", "enable").startswith("The relay serves: ")

    def well() -> bool:
        return asked(lab, "hubble", "status").returncode == 0

    wait_for("all nodes heard", well, within_s=30)
    listed = json.loads(lab.cairn("hubble", "list", "nodes", "-o", "json"))
    assert [node["name"] for node in listed] == ["node-1", "node-2", "node-3"]


def asked(lab: LabRun, *words: str) -> "subprocess.CompletedProcess[str]":
    environment: Any = os.environ | {"KUBECONFIG": lab.kubeconfig}
    return subprocess.run(
        [CAIRN, *words], env=environment, text=True, capture_output=True, timeout=60
    )
