"""`cairn plan` against the shared lab: what an apply would change, and nothing is applied."""

import json
from pathlib import Path
from typing import Any

import pytest
from lab_run import VIP, LabRun

pytestmark = [pytest.mark.lab, pytest.mark.root]

CHANGE = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: planned, namespace: default}
spec: {podSelector: {matchLabels: {app: web-app}}, policyTypes: [Ingress], ingress: []}
---
apiVersion: v1
kind: Service
metadata: {name: planned, namespace: default, labels: {io.cilium/lb-ipam-ips: pool-homelab}}
spec: {type: LoadBalancer, selector: {app: web-app}, ports: [{port: 80, targetPort: 8080}]}
"""


def test_an_apply_is_foreseen_and_not_made(lab: LabRun, tmp_path: Path) -> None:
    file = tmp_path / "change.yaml"
    file.write_text(CHANGE)
    words = ("plan", "-f", str(file))
    found: dict[str, Any] = json.loads(lab.cairn(*words, "-o", "json"))
    (address,) = found["addresses"]
    assert (address["service"], address["before"]) == ("default/planned", [])
    assert address["after"] != [VIP]
    assert {one["prefix"] for one in found["announcements"]} == {f"{address['after'][0]}/32"}
    lost = {(one["receiver"], one["after"]) for one in found["verdicts"]}
    assert lost == {("default/my-web-app", "denied")}
    assert "default/planned" in lab.cairn(*words)
    for kind in ("networkpolicy", "service"):
        assert lab.kubectl("get", kind, "planned", "--ignore-not-found") == ""
