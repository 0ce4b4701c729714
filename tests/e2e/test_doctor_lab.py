"""`cairn doctor` in the shared lab: a healthy one is told healthy in time; a fault is named."""

import json
import time
from typing import Any

import pytest
from lab_run import PYTHON, VIP, LabRun, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

LIMIT_S = 5.0


def doctor(lab: LabRun) -> dict[str, Any]:
    """Return what the doctor says."""
    said: dict[str, Any] = json.loads(lab.cairn("doctor", "-o", "json", check=False))
    return said


def heavy(lab: LabRun) -> list[str]:
    return [f["code"] for f in doctor(lab)["findings"] if f["weight"] != "note"]


def test_healthy_lab_is_healthy(lab: LabRun) -> None:
    wait_for("the doctor to find nothing", lambda: heavy(lab) == [], within_s=30)
    began = time.monotonic()
    lab.cairn("doctor")  # raises unless the exit status is 0
    took_s = time.monotonic() - began
    said = doctor(lab)
    assert said["healthy"]
    assert sum(check["checked"] for check in said["checks"]) > 100
    assert not [check for check in said["checks"] if check["skipped"]]
    assert took_s < LIMIT_S


def test_kernel_setting_is_named_first(lab: LabRun) -> None:
    setting = "net.ipv4.ip_forward"
    lab.on("node-2", "sysctl", "-qw", f"{setting}=0")
    try:
        said = doctor(lab)
        first = said["findings"][0]
        assert (first["code"], first["subject"]) == ("CRN-302", "node node-2")
        assert not said["healthy"]
    finally:
        lab.on("node-2", "sysctl", "-qw", f"{setting}=1")
    assert "CRN-302" not in heavy(lab)


def test_selector_without_pods_is_named_first(lab: LabRun) -> None:
    def choose(label: str) -> None:
        patch = json.dumps({"spec": {"selector": {"app": label}}})
        lab.kubectl("patch", "service", "my-web-app", "-p", patch)

    choose("nobody")
    try:
        assert heavy(lab)[0] == "CRN-501"
    finally:
        choose("web-app")
    wait_for("the doctor to find nothing", lambda: heavy(lab) == [], within_s=30)


FORGET = """
import sys
from pathlib import Path
from cairn.abi.address import write_address
from cairn.libbpf import Map
from cairn.net import parse_address
name, address = sys.argv[1:]
with Map.open_pinned(Path("/sys/fs/bpf/cairn") / name) as table:
    table.delete(write_address(parse_address(address)))
"""


def test_maps_that_somebody_changed_are_named_and_the_mend_works(lab: LabRun) -> None:
    pods = lab.get("pods", "-l", "app=web-app")["items"]
    (pod,) = [one for one in pods if one["spec"]["nodeName"] == "node-2"]
    forget = (PYTHON, "-c", FORGET)
    lab.on("node-2", *forget, "vips", VIP)
    lab.on("node-2", *forget, "endpoints", pod["status"]["podIP"])
    said = doctor(lab)["findings"]
    drifted = {f["code"]: f for f in said if f["code"] in ("CRN-405", "CRN-406")}
    assert {f["subject"] for f in drifted.values()} == {"node node-2"}
    assert VIP in drifted["CRN-405"]["cause"]
    assert f"default/{pod['metadata']['name']}" in drifted["CRN-406"]["cause"]
    command = drifted["CRN-405"]["mend"].partition(" (")[0]
    lab.kubectl(*command.split()[1:])
    wait_for("the doctor to find nothing", lambda: heavy(lab) == [], within_s=40)


def test_page_is_printed(lab: LabRun) -> None:
    assert lab.cairn("doctor", "--explain", "crn-201").startswith("# CRN-201 WrongAsn")
