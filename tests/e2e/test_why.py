"""`cairn why` in a running lab: ways that work, a policy that denies, a name outside, bad input."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_run import CAIRN, KUBECTL, PYTHON, VIP, LabRun, Talk, wait_for

from cairn.lab import faults
from cairn.lab.state import load_lab

pytestmark = pytest.mark.lab

BEDS = Path(__file__).parents[1] / "beds"
NAME, OUTSIDE = "shop.example.org", "192.168.50.10"
WITHIN_S = 2.0
"""What a walk may take, and what the busiest machine of a test run may add to it."""
SLACK = 4.0


def why(lab: LabRun, *words: str, works: bool = True) -> Any:
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "KUBECONFIG": lab.kubeconfig}
    began = time.monotonic()
    done = subprocess.run(
        (CAIRN, "why", *words, "-o", "json"), text=True, capture_output=True, env=environment
    )
    took_s = time.monotonic() - began
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert done.returncode == (0 if works else 1), found["sentence"]
    assert found["works"] is works, found["sentence"]
    assert "--probe" in words or took_s < WITHIN_S * SLACK
    return found


def steps(found: Any) -> dict[str, str]:
    return {one["name"]: one["outcome"] for one in found["steps"]}


def codes(found: Any) -> list[str]:
    return [finding["code"] for finding in found["findings"]]


@pytest.mark.parametrize("target", ["default/my-web-app", VIP, f"{VIP}:80"])
def test_a_client_behind_the_router_reaches_the_address(lab: LabRun, target: str) -> None:
    found = wait_for("a walk without findings", lambda: _clean(lab, "client-1", target))
    outcomes = steps(found)
    for name in ("pool", "address", "announcement", "session", "route", "data plane", "Maglev"):
        assert outcomes[name] == "ok", found
    assert outcomes["application"] == "ok"
    route = next(one for one in found["steps"] if one["name"] == "route")
    assert all(f"node-{number}" in route["evidence"] for number in (1, 2, 3))
    assert "in RIB and kernel" in route["evidence"]


def _clean(lab: LabRun, *words: str) -> Any:
    found = why(lab, *words)
    return found if not found["findings"] else None


def test_a_probe_is_told_from_what_would_be_allowed(lab: LabRun) -> None:
    found = why(lab, "client-1", VIP, "--probe")
    said = {one["name"]: one["evidence"] for one in found["steps"]}
    assert "it connects" in said["probe"]
    assert "would be allowed" in said["policy"] or "would be" in said["policy"]
    assert said["connections"].startswith("seen:"), said["connections"]
    wait_for("the flow of the probe", lambda: _flows(lab, "client-1", VIP))


def _flows(lab: LabRun, *words: str, what: str = "forwarded", works: bool = True) -> str:
    """Return what was seen, once that is said."""
    found = why(lab, *words, works=works)
    told = next(one["evidence"] for one in found["steps"] if one["name"] == "flows")
    assert "CRN-653" not in codes(found)
    return told if told.startswith("was seen: ") and what in told else ""


def test_a_client_of_the_nodes_subnet_asks_by_arp(lab: LabRun) -> None:
    found = why(lab, "client-2", VIP)
    assert steps(found)["ARP/ND of the address"] == "ok"
    assert "route" not in steps(found)


def test_a_pod_reaches_a_service(lab: LabRun) -> None:
    found = why(lab, "production/web-app", "database.production.svc.cluster.local", "--probe")
    assert steps(found)["probe"] == "ok"
    assert found["address"].startswith("10.96.")


@pytest.fixture
def denied(lab: LabRun) -> Iterator[str]:
    """A policy that closes the database to all but the ingress."""
    lab.apply(
        json.dumps(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "only-ingress", "namespace": "production"},
                "spec": {
                    "podSelector": {"matchLabels": {"tier": "database"}},
                    "policyTypes": ["Ingress"],
                    "ingress": [
                        {"from": [{"podSelector": {"matchLabels": {"app": "nginx-ingress"}}}]}
                    ],
                },
            }
        )
    )
    yield "NetworkPolicy/production/only-ingress"
    lab.kubectl("-n", "production", "delete", "networkpolicy", "only-ingress")


def test_a_policy_that_denies_is_the_cause_with_its_rule(lab: LabRun, denied: str) -> None:
    found = why(lab, "production/web-app", "production/database", works=False)
    assert codes(found) == ["CRN-651"]
    assert denied in found["sentence"]
    assert "app=nginx-ingress" in found["mend"]
    probed = wait_for(
        "a probe that is denied",
        lambda: _failed(lab, "production/web-app", "production/database", "--probe"),
    )
    assert codes(probed)[0] == "CRN-651"
    seen = wait_for(
        "the flow that was dropped",
        lambda: _flows(
            lab, "production/web-app", "production/database", what="dropped at", works=False
        ),
    )
    assert f"by policy {denied}" in seen
    allowed = why(lab, "production/nginx-ingress", "production/database")
    assert codes(allowed) == []


def _failed(lab: LabRun, *words: str) -> Any:
    found = why(lab, *words, works=False)
    return found if steps(found).get("probe") == "broken" else None


@pytest.fixture
def world(lab: LabRun) -> Iterator[None]:
    """A name outside, which the cluster's DNS asks for on the LAN."""
    talk = Talk(lab, "client-1", PYTHON, str(BEDS / "outside.py"), f"{NAME}={OUTSIDE}")
    deployment = lab.get("deployment", "-n", "kube-system", "kube-dns")
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    try:
        set_command(lab, [*command, f"--upstream={OUTSIDE}"])
        yield
    finally:
        set_command(lab, command)
        talk.end()


def set_command(lab: LabRun, command: list[str]) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "dns", "command": command}]}}}}
    words = ("-n", "kube-system")
    lab.kubectl("patch", *words, "deployment", "kube-dns", "-p", json.dumps(patch))
    lab.kubectl("rollout", "status", *words, "deployment/kube-dns", "--timeout=60s")


def test_a_pod_reaches_a_name_outside(lab: LabRun, world: None) -> None:
    found = why(lab, "production/web-app", f"{NAME}:80", "--probe")
    said = {one["name"]: one["evidence"] for one in found["steps"]}
    assert f"{NAME} is {OUTSIDE}" in said["name"]
    missing = why(lab, "production/web-app", "missing.example.org:80", works=False)
    assert codes(missing) == ["CRN-750"]


def test_a_name_that_was_not_learnt_is_named_first(lab: LabRun, world: None) -> None:
    fault, record = faults.find("name-not-learnt"), load_lab(lab.name)
    faults.inject(record, fault.name, fault.example)
    try:
        words = fault.why.split()
        wait_for("its finding", lambda: codes(why(lab, *words))[:1] == [fault.finding])
    finally:
        faults.clear(record, fault.name)
    wait_for("nothing", lambda: codes(why(lab, *words)) == [])


def test_a_missing_label_is_the_cause_and_its_mend_works(lab: LabRun) -> None:
    key = "io.cilium/lb-ipam-ips"
    lab.kubectl("label", "service", "my-web-app", f"{key}-")
    try:
        wait_for("the address to go", lambda: not lab.get("svc", "my-web-app")["status"].get(
            "loadBalancer"))  # fmt: skip
        found = wait_for("the reason", lambda: _pending(lab))
        assert "kubectl -n default label service my-web-app" in found["mend"]
        mend = found["mend"].replace("kubectl", f"{KUBECTL} --kubeconfig {lab.kubeconfig}", 1)
        subprocess.run(mend.split(), check=True, capture_output=True)
        wait_for("an address", lambda: lab.get("svc", "my-web-app")["status"].get("loadBalancer"))
    finally:
        lab.kubectl("label", "--overwrite", "service", "my-web-app", f"{key}=pool-homelab")
    wait_for("a route", lambda: len(lab.next_hops()) == 3)


def _pending(lab: LabRun) -> Any:
    found = why(lab, "client-1", "default/my-web-app", works=False)
    return found if codes(found)[:1] == ["CRN-103"] else None


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("client-1", "default/my-wep-app"), 1, "near: default/my-web-app"),
        (("client-7", VIP), 1, "near: client-"),
        (("client-1",), 2, "the following arguments are required: TARGET"),
        (("client-1", f"{VIP}:x"), 2, "is no port"),
        (("client-1", VIP, "--router", "smoke"), 2, "is not lab, none or unix:SOCKET"),
        (("client-1", VIP, "--http", "fetch"), 2, "is no request"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(
    lab: LabRun, words: tuple[str, ...], status: int, said: str
) -> None:
    environment = {"PATH": "/usr/bin:/bin", "KUBECONFIG": lab.kubeconfig}
    done = subprocess.run((CAIRN, "why", *words), text=True, capture_output=True, env=environment)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_router_to_ask_the_rest_is_walked(lab: LabRun) -> None:
    found = why(lab, "client-1", VIP, "--router", "none")
    assert steps(found)["route"] == "unknown"
    assert "route" in found["sentence"]
    asked = why(lab, "client-1", VIP, "--router", f"unix:/run/cairn/{lab.name}/router/router.sock")
    assert steps(asked)["route"] == "ok"
    table = lab.cairn("why", "client-1", VIP)
    assert "✓ route" in table
