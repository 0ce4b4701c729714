"""The relay in the lab: flows of every node kept, asked, kept over a kill; docs/flows.md."""

import json
import os
import subprocess

import pytest
from lab_run import CAIRN, ROOT, LabRun, run, wait_for
from test_policy_guide import Step, missing, parse

pytestmark = pytest.mark.lab

GUIDE = ROOT / "docs" / "flows.md"
STEPS = [step for step in parse(GUIDE.read_text()) if isinstance(step, Step)]
RELAY = ("-n", "kube-system", "-l", "k8s-app=hubble-relay")


def asked(lab: LabRun, *words: str) -> list[dict[str, object]]:
    return list(json.loads(lab.cairn("flows", *words, "-o", "json")))


def count(lab: LabRun) -> int:
    return int(str(asked(lab, "--sql", "SELECT count(*) AS n FROM flows")[0]["n"]))


def test_flows_of_every_node_are_kept(lab: LabRun) -> None:
    for _ in range(6):
        lab.web()
    wait_for("flows of all three nodes", lambda: len(asked(lab, "--by", "node")) >= 3)
    web = asked(lab, "--to", "default/my-web-app", "--by", "destination_workload")
    assert web[0]["destination_workload"] == "Deployment/my-web-app"


def test_a_killed_relay_has_lost_nothing_of_more_than_a_second_ago(lab: LabRun) -> None:
    lab.web()
    before = wait_for("flows", lambda: count(lab))
    pod = lab.get("pods", *RELAY)["items"][0]
    lab.kubectl(
        "exec", "-n", "kube-system", pod["metadata"]["name"], "--", "kill", "-9", "1", check=False
    )

    def back() -> bool:
        status = lab.get("pods", *RELAY)["items"][0]["status"]["containerStatuses"][0]
        return bool(status["ready"] and status["restartCount"] > 0)

    wait_for("the relay restarted", back, within_s=30)
    assert count(lab) >= before


def test_the_service_leads_to_the_relay(lab: LabRun) -> None:
    port_forward = subprocess.Popen(
        [
            *("kubectl", "--kubeconfig", lab.kubeconfig, "port-forward", "-n", "kube-system"),
            *("svc/hubble-relay", ":80"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert port_forward.stdout
        line = port_forward.stdout.readline()
        port = line.split(":")[1].split()[0]
        status = json.loads(
            run(CAIRN, "flows", "--server", f"localhost:{port}", "--status", "-o", "json")
        )
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
        env=os.environ
        | {"KUBECONFIG": lab.kubeconfig, "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == step.status, printed
    assert missing(step.shown, printed) is None, printed
