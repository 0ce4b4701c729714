"""VLAN tags on a real link: the uplink serves its own VLAN and priority tags, a pod has neither.

A trial's packet never has a tag: the kernel takes it off where a frame arrives.
"""

import secrets
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trial
from packets import ACK, SYN

from cairn.abi.structs import Endpoint, Point
from cairn.abi.verdicts import Verdict
from cairn.libbpf import AttachType, Link
from cairn.linux import namespace

pytestmark = [pytest.mark.bpf, pytest.mark.root]

PRIORITY, FOREIGN = 5 << 13, 5 << 13 | 12
SERVICE_TAG, CUSTOMER_TAG = 0x88A8, 0x8100


@dataclass
class Wire:
    """A link with a program at its end, and the other end's socket."""

    node: trial.Trial
    sender: socket.socket

    def verdict(self, frame: bytes) -> tuple[Point, Verdict]:
        """Send a frame; return the one verdict that it was counted under."""
        before = self.node.counted()
        self.sender.send(frame)
        end = time.monotonic() + 5
        while (after := self.node.counted()) == before:
            assert time.monotonic() < end, "counted under nothing"
            time.sleep(0.005)
        (found,) = [key for key in after if after[key] != before.get(key, 0)]
        return found


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    return frame[:12] + b"".join(struct.pack("!HH", *tag) for tag in tags) + frame[12:]


@pytest.fixture(params=["uplink_ingress", "pod_ingress"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    name = f"ct-{secrets.token_hex(4)}"
    with namespace.temporary(name), trial.loaded() as node:
        # Without addresses of its own the kernel says nothing on the link.
        for line in (
            f"link add near address {trial.UPLINK.hex(':')} type veth peer name far",
            "link set near addrgenmode none",
            "link set far addrgenmode none",
            "link set far up",
            "link set near up",
        ):
            subprocess.run(["ip", "-n", name, *line.split()], check=True)
        program = node.objects[request.param].programs[request.param]

        def attach() -> tuple[Link, int, socket.socket]:
            index = socket.if_nametoindex("near")
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sender.bind(("far", 0))
            return Link.create(program, AttachType.TCX_INGRESS, index), index, sender

        link, index, sender = namespace.call_in(name, attach)
        sent_here = Endpoint(index, trial.POD_MAC, trial.UPLINK, 0, 0).write()
        node.maps["endpoints"].update(trial.key_of(trial.POD), sent_here)
        with link, sender:
            yield Wire(node, sender)


@pytest.mark.parametrize("wire", ["uplink_ingress"], indirect=True)
def test_the_uplink_serves_untagged_frames_and_priority_tags_alone(wire: Wire) -> None:
    frame = trial.request(trial.REMOTE_PORT, flags=SYN)
    served = (Point.UPLINK, Verdict.HANDED_OVER)
    left = (Point.UPLINK, Verdict.PASS)
    assert wire.verdict(frame) == served
    assert wire.verdict(tagged(frame, (CUSTOMER_TAG, PRIORITY))) == served
    assert wire.verdict(tagged(frame, (CUSTOMER_TAG, FOREIGN))) == left
    assert wire.verdict(tagged(frame, (SERVICE_TAG, FOREIGN))) == left
    assert wire.verdict(tagged(frame, (SERVICE_TAG, PRIORITY), (CUSTOMER_TAG, FOREIGN))) == left


@pytest.mark.parametrize("wire", ["pod_ingress"], indirect=True)
def test_a_pod_sends_into_no_vlan(wire: Wire) -> None:
    frame = trial.from_pod(trial.REMOTE_POD, 80, flags=ACK)
    on = (Point.POD, Verdict.TO_NODE)
    assert wire.verdict(frame) == on
    assert wire.verdict(tagged(frame, (CUSTOMER_TAG, PRIORITY))) == on
    assert wire.verdict(tagged(frame, (CUSTOMER_TAG, FOREIGN))) == (Point.POD, Verdict.DROP_VLAN)
