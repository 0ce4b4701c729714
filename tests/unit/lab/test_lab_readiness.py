"""What the lab waits for, what it says when it waits in vain, and what it needs of the machine."""

import socket
from typing import Any

import pytest

from cairn.lab import preflight
from cairn.lab.cluster import condition_of, external_address, wait_for
from cairn.lab.loopback import LOOPBACK, free_port, listen_on_loopback
from cairn.lab.state import LabError
from cairn.lab.up import Choices, choose_lab


@pytest.mark.parametrize(
    ("status", "address"),
    [
        ({}, None),
        ({"loadBalancer": None}, None),
        ({"loadBalancer": {"ingress": [{"hostname": "x"}]}}, None),
        ({"loadBalancer": {"ingress": [{"ip": "192.168.1.100"}]}}, "192.168.1.100"),
    ],
)
def test_external_address(status: dict[str, Any], address: str | None) -> None:
    assert external_address({"status": status}) == address


def test_condition_that_is_missing_says_so() -> None:
    node = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert condition_of(node, "Ready")["status"] == "True"
    assert condition_of({}, "Ready") == {"reason": "no condition Ready yet"}


async def test_waiting_ends_when_the_condition_holds() -> None:
    answers = iter(["not yet", "not yet", ""])

    async def check() -> str:
        return next(answers)

    await wait_for("it", check, deadline_s=5, hint=str)
    assert list(answers) == []


async def test_waiting_in_vain_says_what_was_missing_and_what_helps() -> None:
    async def check() -> str:
        return "node-1 has not registered"

    with pytest.raises(LabError, match=r"nodes: not within 0 s: node-1 has not .*; see the log"):
        await wait_for("nodes", check, deadline_s=0, hint=lambda: "see the log")


def test_port_in_use_is_stepped_over_and_named() -> None:
    first = free_port(set())
    with socket.socket() as holder:
        holder.bind((LOOPBACK, first))
        holder.listen()
        assert free_port(set()) != first
        with pytest.raises(LabError, match=f"{LOOPBACK}:{first}: Address already in use; see"):
            listen_on_loopback(first)
    assert free_port({first}) != first


def test_old_kernel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "OLDEST_KERNEL", (99, 1))
    with pytest.raises(LabError, match=r"too old: Cairn needs Linux 99\.1 or newer"):
        preflight.check_machine("cairn")


def test_new_lab_has_the_choices_and_their_defaults() -> None:
    lab, fresh = choose_lab(Choices("ctnolabhere"))
    assert fresh
    assert (lab.nodes, lab.router, lab.state) == ((1, 2, 3), "cairn", "")
    lab, _ = choose_lab(Choices("ctnolabhere", nodes=5, router="frr"))
    assert (lab.nodes, lab.router) == ((1, 2, 3, 4, 5), "frr")
