"""The relay in the lab: flows of every node kept, asked, kept over a kill; docs/flows.md."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from guide_run import Step, missing, parse
from lab_run import CAIRN, KUBECTL, ROOT, VIP, LabRun, run, wait_for

pytestmark = pytest.mark.lab

GUIDE = ROOT / "docs" / "flows.md"
STEPS = [step for step in parse(GUIDE.read_text()) if isinstance(step, Step)]
RELAY = ("-n", "kube-system", "-l", "k8s-app=hubble-relay")


def asked(lab: LabRun, *words: str) -> list[dict[str, object]]:
    return list(json.loads(lab.cairn("flows", *words, "-o", "json")))


def relay_process(lab: LabRun) -> int:
    """Return the relay's process as the machine numbers it: in its pod nothing kills process 1."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and lab.name in read(folder / "cgroup"):
            words = read(folder / "cmdline").split("\0")
            if "relay" in words[1:3] and any("--history" in word for word in words):
                return int(folder.name)
    raise AssertionError("no relay runs")


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def count(lab: LabRun) -> int:
    return int(str(asked(lab, "--sql", "SELECT count(*) AS n FROM flows")[0]["n"]))


@pytest.fixture(scope="module", autouse=True)
def knocked(lab: LabRun) -> None:
    """Packets for a port that no Service has, from both clients."""
    for client in ("client-1", "client-2"):
        for _ in range(3):
            lab.on(client, "curl", "-s", "--max-time", "0.5", f"http://{VIP}:81", check=False)


def test_what_the_nodes_saw_is_asked_of_the_history(lab: LabRun) -> None:
    def drops() -> list[dict[str, object]]:
        return asked(lab, "--dropped", "--port", "81", "--by", "source,reason,destination")

    wait_for("drops of both clients", lambda: len(drops()) > 1)
    assert {(row["source"], row["reason"], row["destination"]) for row in drops()} == {
        ("192.168.50.10", "NO_SERVICE", VIP),
        ("192.168.1.50", "NO_SERVICE", VIP),
    }


def test_a_connection_is_told_from_the_vip_to_its_end(lab: LabRun) -> None:
    """What one request did: told at each node that it passed, with what came back."""
    lab.on("client-1", "curl", "-s", "--local-port", "45000", f"http://{VIP}")
    columns = "kind, destination, translated, node, packets, packets_back, octets_back"
    where = "source = '192.168.50.10' AND source_port = 45000"

    def told() -> dict[str, dict[str, object]]:
        rows = asked(lab, "--sql", f"SELECT {columns} FROM flows WHERE {where}")
        return {str(row["kind"]): row for row in rows}

    wait_for("the connection's end", lambda: "CLOSED" in told())
    flows = told()
    pod = flows["NEW"]["destination"]
    assert flows["TRANSLATED"]["destination"] == VIP
    assert flows["TRANSLATED"]["translated"] == pod
    assert flows["CLOSED"]["destination"] == pod
    assert flows["CLOSED"]["node"] == flows["NEW"]["node"]
    assert int(str(flows["CLOSED"]["packets"])) >= 4
    assert int(str(flows["CLOSED"]["octets_back"])) > 100


def test_the_relay_tells_how_it_stands_with_each_node(lab: LabRun) -> None:
    pod = lab.get("pods", *RELAY)["items"][0]["metadata"]["name"]
    fetch = ("curl", "-sS", "http://localhost:9966/metrics")
    text = lab.kubectl("exec", "-n", "kube-system", pod, "--", *fetch)
    for node in ("node-1", "node-2", "node-3"):
        assert f'cairn_relay_node_connected{{node="{node}"}} 1' in text
    assert "cairn_relay_history_writing 1" in text


def test_a_killed_relay_has_lost_nothing(lab: LabRun) -> None:
    before = wait_for("flows", lambda: count(lab))
    os.kill(relay_process(lab), signal.SIGKILL)

    def back() -> bool:
        status = lab.get("pods", *RELAY)["items"][0]["status"]["containerStatuses"][0]
        return bool(status["ready"] and status["restartCount"] > 0)

    wait_for("the relay restarted", back, within_s=30)
    assert count(lab) >= before


def test_the_service_leads_to_the_relay(lab: LabRun) -> None:
    port_forward = subprocess.Popen(
        [
            *(KUBECTL, "--kubeconfig", lab.kubeconfig, "port-forward", "-n", "kube-system"),
            *("svc/hubble-relay", ":80"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert port_forward.stdout
        line = port_forward.stdout.readline()
        port = line.split(":")[1].split()[0]
        words = ("--server", f"localhost:{port}", "--status", "-o", "json")
        status = json.loads(run(CAIRN, "flows", *words))
        assert status["flows"] > 0
        assert status["stopped"] == ""
    finally:
        port_forward.terminate()
        port_forward.wait()


@pytest.mark.parametrize("step", STEPS, ids=[step.command for step in STEPS])
def test_the_guide_as_written(lab: LabRun, step: Step) -> None:
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", step.command],
        env=os.environ | {"KUBECONFIG": lab.kubeconfig, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == step.status, printed
    assert missing(step.shown, printed) is None, printed
