"""Packets traced through the lab, and drops by the nodes' kernels; docs/trace.md."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from guide_run import follow, parse
from lab_run import CAIRN, ROOT, VIP, LabRun, wait_for

pytestmark = pytest.mark.lab

STEPS = list(parse((ROOT / "docs" / "trace.md").read_text()))
CLIENT = "192.168.50.10"


@contextmanager
def tracing(lab: LabRun, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a trace from when all nodes look."""
    process = subprocess.Popen(
        [CAIRN, "trace", *words, "-o", "json"],
        env=os.environ | {"KUBECONFIG": lab.kubeconfig},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr
        line = process.stderr.readline()
        assert line.startswith("tracing on "), line
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def ended(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """Return the packets of a trace that ends by itself."""
    out, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in out.splitlines()]


def test_a_request_is_followed_to_its_pod_and_back(lab: LabRun) -> None:
    with tracing(lab, "--from", "client-1", "--to", "my-web-app", "--for", "4s") as process:
        answered = [lab.web() for _ in range(3)]
        packets = ended(process)
    assert process.returncode == 0
    assert [p["time_ns"] for p in packets] == sorted(p["time_ns"] for p in packets)
    syns = [p for p in packets if p["tcp_flags"] == 2]
    assert {p["source"] for p in syns} == {CLIENT}
    for page in answered:
        served = [p for p in syns if p["verdict"] == "TO_BACKEND" and p["node"] == page["node"]]
        assert served, page
        for packet in served:
            assert (packet["destination"], packet["translated_port"]) == (VIP, 8080)
        way = [p for p in syns if p["source_port"] == served[0]["source_port"]]
        handed = [p for p in way if p["verdict"] == "HANDED_OVER"]
        first = (handed or served)[0]
        assert first["point"] in ("uplink", "xdp")
        assert bool(handed) == (first["node"] != page["node"])
    replies = [p for p in packets if p["verdict"] == "REPLY" and p["point"] == "pod"]
    assert {p["translated"] for p in replies} == {VIP}
    assert {p["source_name"].split("-")[0] for p in replies} == {"default/my"}


def test_a_pod_asks_a_service(lab: LabRun) -> None:
    """Its packets never have the Service's address: connect() turned it into a pod's."""
    (pod,) = lab.pods("tier=web", "production")
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    with tracing(lab, "--to", "my-web-app", "--for", "2s") as process:
        lab.web(f"pod/production/{name}", "http://my-web-app.default")
        packets = ended(process)
    points = {p["point"]: p for p in packets if p["source"] in (address, "::")}
    assert {"socket", "pod"} <= points.keys()
    assert points["socket"]["verdict"] == "SOCKET_TRANSLATED"
    assert points["socket"]["destination_name"] == "default/my-web-app"
    assert points["pod"]["destination_port"] == 8080


def test_two_at_once_and_a_killed_one_leaves_its_place(lab: LabRun) -> None:
    question = ("--to", "203.0.113.77", "--for", "50s", "--node", "node-1")
    with tracing(lab, *question) as killed, tracing(lab, *question) as interrupted:
        third = subprocess.run(
            [CAIRN, "trace", *question],
            env=os.environ | {"KUBECONFIG": lab.kubeconfig},
            text=True, capture_output=True, timeout=60,
        )  # fmt: skip
        assert "node-1: 2 traces run here already" in third.stderr
        killed.kill()
        interrupted.send_signal(signal.SIGINT)
        assert interrupted.wait(timeout=20) == 1  # it saw nothing

    def again() -> bool:
        said = lab.cairn("trace", "--to", "203.0.113.77", "--for", "1s", "--node", "node-1",
                         check=False)  # fmt: skip
        return said == ""

    wait_for("a place for another trace", again)
    wait_for("no filter is left", lambda: not filters(lab, "node-1"))


def filters(lab: LabRun, node: str) -> list[bytes]:
    """Return the rows of the filters that are not empty."""
    name = f"/sys/fs/bpf/cairn-{lab.name}/{node}"
    paths = list(Path(f"/sys/fs/bpf/cairn-{lab.name}").rglob("trace_filters"))
    assert paths, name
    from_map = subprocess.run(
        ["bpftool", "-j", "map", "dump", "pinned", str(next(p for p in paths if node in str(p)))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [bytes(int(octet, 16) for octet in row["value"]) for row in json.loads(from_map.stdout)]
    return [row for row in rows if any(row)]


def test_a_firewall_of_the_node_is_seen_in_the_flows(lab: LabRun) -> None:
    pod = next(p for p in lab.pods("app=web-app") if p["spec"]["nodeName"] == "node-1")
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    lab.cairn("lab", "fault", "--name", lab.name, "firewall", "node-1")
    try:
        words = ("curl", "-s", "-m", "0.5", "http://192.168.1.1")
        lab.on(f"pod/default/{name}", *words, check=False)

        def drops() -> list[dict[str, Any]]:
            words = ("--from", address, "--to", "192.168.1.1", "--dropped", "--by", "kind,reason")
            return list(json.loads(lab.cairn("flows", "--since", "1m", *words, "-o", "json")))

        (row,) = wait_for("the drop in the history", drops)
        assert (row["kind"], row["reason"]) == ("KERNEL_DROP", "kernel: NETFILTER_DROP")
    finally:
        lab.cairn("lab", "fault", "--name", lab.name, "clear")


def test_the_guide(lab: LabRun, tmp_path: Path) -> None:
    follow(STEPS, lab, tmp_path)
