"""BFD of `cairn speaker` with other people's daemons: FRR's bfdd and BIRD, over IPv4 and IPv6."""

import json
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bgp_bed import NODES, ROUTER, Bed, Daemon, SpeakerProcess, wait_for

from cairn.desired.routes import BfdNeighbour, SpeakerConfig
from cairn.net import parse_address

FRR = "/usr/lib/frr"
V6 = "fd08::1", "fd08::11"
V4 = ROUTER, NODES[0]

FRR_BFD = """\
bfd
 peer {peer}{local}
  receive-interval 200
  transmit-interval 200
  detect-multiplier 3
  no shutdown
"""
BIRD_BFD = """\
router id {id};
protocol device {{ }}
protocol bfd {{
  interface "br0" {{ min rx interval 200 ms; min tx interval 200 ms; multiplier 3; }};
  neighbor {peer} local {own};
}}
"""


class Foreign:
    """Another implementation in the router's namespace."""

    def __init__(self, bed: Bed, kind: str, own: str, peer: str) -> None:
        self.bed = bed
        self.kind = kind
        self.peer = peer
        self.daemon = self._start_frr(own) if kind == "frr" else self._start_bird(own)

    def _start_frr(self, own: str) -> Daemon:
        bed, d = self.bed, self.bed.directory
        shutil.chown(d, "frr", "frr")
        local = f" local-address {own}" if ":" in own else ""
        for name, text in (("zebra", ""), ("bfdd", FRR_BFD.format(peer=self.peer, local=local))):
            shutil.chown(bed.write(f"{name}.conf", text), "frr", "frr")
        common = ["-u", "frr", "-g", "frr", "--vty_socket", str(d), "-A", "127.0.0.1", "-P", "0"]
        common += ["-z", str(d / "zserv.api")]
        zebra = [f"{FRR}/zebra", "-f", str(d / "zebra.conf"), "-i", str(d / "zebra.pid")]
        bed.start(bed.router, "zebra", [*zebra, *common])
        wait_for("zebra", (d / "zserv.api").exists)
        bfdd = [f"{FRR}/bfdd", "-f", str(d / "bfdd.conf"), "-i", str(d / "bfdd.pid")]
        bfdd += ["--bfdctl", str(d / "bfdd.sock")]
        return bed.start(bed.router, "bfdd", [*bfdd, *common])

    def _start_bird(self, own: str) -> Daemon:
        bed, d = self.bed, self.bed.directory
        conf = bed.write("bird.conf", BIRD_BFD.format(id=ROUTER, own=own, peer=self.peer))
        argv = ["bird", "-f", "-c", str(conf), "-s", str(d / "bird.ctl"), "-P", str(d / "bird.pid")]
        return bed.start(bed.router, "bird", argv)

    @property
    def state(self) -> str:
        """What it says of the session, in lower case."""
        d = str(self.bed.directory)
        if self.kind == "frr":
            words = ["vtysh", "--vty_socket", d, "-c", "show bfd peers json"]
            peers: list[dict[str, Any]] = json.loads(
                self.bed.run(self.bed.router, *words).stdout or "[]"
            )
            return next((str(p["status"]) for p in peers if p["peer"] == self.peer), "")
        words = ["birdc", "-s", f"{d}/bird.ctl", "show", "bfd", "sessions"]
        lines = self.bed.run(self.bed.router, *words).stdout.splitlines()
        rows = [line.split() for line in lines if line.startswith(self.peer)]
        return rows[0][2].lower() if rows else ""


@pytest.fixture
def bed() -> Iterator[Bed]:
    with Bed() as bed:
        yield bed


def session(speaker: SpeakerProcess) -> dict[str, Any]:
    (found,) = speaker.ask({"get": "state"})["bfd"]
    return dict(found)


def watched(own: str, peer: str) -> SpeakerConfig:
    neighbour = BfdNeighbour(parse_address(own), parse_address(peer))
    return SpeakerConfig(NODES[0], 64512, bfd=(neighbour,))


@pytest.mark.parametrize("ends", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("kind", ["frr", "bird"])
def test_comes_up_and_each_side_notices_the_end_of_the_other(
    bed: Bed, kind: str, ends: tuple[str, str]
) -> None:
    foreign = Foreign(bed, kind, *ends)
    speaker = SpeakerProcess(bed, 0)
    speaker.apply(watched(*ends))
    wait_for("our session up", lambda: session(speaker)["state"] == "up")
    wait_for("their session up", lambda: foreign.state == "up")

    speaker.daemon.stop(signal.SIGKILL)
    wait_for("they notice", lambda: foreign.state == "down")
    # Started again it has the state it was told last: nobody else need tell it.
    speaker.restart(signal.SIGKILL)
    wait_for("up again", lambda: session(speaker)["state"] == "up")

    with Watching(speaker) as lines:
        at = time.monotonic()
        foreign.daemon.stop(signal.SIGKILL)
        event = next(line for line in lines if line.get("event") == "bfd")
        took_s = time.monotonic() - at
    print(f"BFD: {kind} killed, noticed after {took_s:.3f} s")
    assert (event["state"], event["was"]) == ("down", "up")
    assert event["diagnostic"] == "detection-time-expired"
    assert session(speaker) == {
        "address": ends[0],
        "state": "down",
        "remote_state": "up",
        "was_up": True,
    }
    assert took_s < 5.0  # what it is worth is printed; a busy machine may be late


def test_who_stops_politely_is_not_dead(bed: Bed) -> None:
    first, second = SpeakerProcess(bed, 0), SpeakerProcess(bed, 1)
    here, there = (parse_address(address) for address in NODES[:2])
    first.apply(SpeakerConfig(NODES[0], 64512, bfd=(BfdNeighbour(there, here),)))
    second.apply(SpeakerConfig(NODES[1], 64512, bfd=(BfdNeighbour(here, there),)))
    wait_for("up", lambda: session(first)["state"] == session(second)["state"] == "up")
    with Watching(first) as lines:
        second.daemon.stop(signal.SIGTERM)
        event = next(line for line in lines if line.get("event") == "bfd")
    assert (event["state"], event["remote_state"]) == ("down", "admin-down")


def test_a_packet_that_passed_a_router_is_not_taken(bed: Bed) -> None:
    speaker = SpeakerProcess(bed, 0)
    speaker.apply(watched(*V4))
    packet = bytes.fromhex("2040031800000007000000000003d090000493e000000000")
    script = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(sys.argv[1]));"
        f"s.sendto(bytes.fromhex('{packet.hex()}'), ('{NODES[0]}', 3784))"
    )

    def said() -> bool:
        assert bed.run(bed.router, "python3", "-c", script, "254").returncode == 0
        return "its TTL is below 255" in speaker.daemon.text

    wait_for("the reason in the log", said)
    assert session(speaker)["state"] == "down"
    assert bed.run(bed.router, "python3", "-c", script, "255").returncode == 0
    wait_for("the same packet from the link", lambda: session(speaker)["state"] == "init")


class Watching:
    """The lines that a speaker tells those who watch."""

    def __init__(self, speaker: SpeakerProcess) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(speaker.socket_path))
        self._socket.sendall(b'{"watch":true}\n')

    def __enter__(self) -> Iterator[dict[str, Any]]:
        lines = self._socket.makefile("rb")
        assert json.loads(lines.readline())["event"] == "state"
        return (json.loads(line) for line in lines)

    def __exit__(self, *_: object) -> None:
        self._socket.close()
