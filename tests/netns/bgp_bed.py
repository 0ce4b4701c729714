"""A bench of namespaces for BGP tests: a router, three nodes on one segment, daemons in them.

Bed  ->  namespaces, processes started by pid and ended by pid, conditions with a deadline
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cairn.desired.routes import Announcement, PeerSpec, SpeakerConfig
from cairn.desired.routes_json import save_config
from cairn.linux import namespace
from cairn.net import parse_address, parse_network
from cairn.router.daemons import RouterPlan

T = TypeVar("T")

CAIRN = (sys.executable, "-m", "cairn.cli.main")
ROUTER = "10.8.0.1"
ROUTER6 = "fd08::1"
NODES = ("10.8.0.11", "10.8.0.12", "10.8.0.13")
NODES6 = ("fd08::11", "fd08::12", "fd08::13")
VIP = "203.0.113.1"
VIP6 = "2001:db8:f::1"
BOTH = ("ipv4/unicast", "ipv6/unicast")
DEADLINE_S = 40.0


def wait_for(what: str, probe: Callable[[], T], *, deadline_s: float = DEADLINE_S) -> T:
    """Return the first true value of `probe`; fails with the last one after the deadline."""
    ends = time.monotonic() + deadline_s
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"not within {deadline_s} s: {what} (last: {found!r})")
        time.sleep(0.05)


class Daemon:
    """One process in a namespace, with its log."""

    def __init__(self, netns: str, argv: Sequence[str], log: Path, env: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{netns}", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait(10)


class Bed:
    """The bench; use as a context manager."""

    def __init__(self) -> None:
        self.name = f"ct-{os.getpid()}-{secrets.token_hex(3)}"
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.router = f"{self.name}-r"
        self.nodes = [f"{self.name}-n{number}" for number in range(len(NODES))]
        self._daemons: list[Daemon] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Bed":
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.print_logs()
        for daemon in reversed(self._daemons):
            daemon.stop()
        self._stack.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def print_logs(self) -> None:
        """Show what every daemon said last, for whoever reads a failure."""
        for daemon in self._daemons:
            print(f"--- {daemon.log.name} (exit status {daemon.status})\n{daemon.text[-3000:]}")

    def _build(self) -> None:
        for name in (self.router, *self.nodes):
            self._stack.enter_context(namespace.temporary(name))
            self.ip(name, "link set lo up")
        self.ip(self.router, "link add br0 type bridge")
        self.ip(self.router, f"addr add {ROUTER}/24 dev br0")
        self.ip(self.router, f"addr add {ROUTER6}/64 dev br0 nodad")
        self.ip(self.router, "link set br0 up")
        for number, (node, address) in enumerate(zip(self.nodes, NODES, strict=True)):
            self.ip(self.router, f"link add p{number} type veth peer name eth0 netns {node}")
            self.ip(self.router, f"link set p{number} master br0 up")
            self.ip(node, f"addr add {address}/24 dev eth0")
            self.ip(node, f"addr add {NODES6[number]}/64 dev eth0 nodad")
            self.ip(node, "link set eth0 up")

    def ip(self, netns: str, command: str) -> None:
        subprocess.run(["ip", "-n", netns, *command.split()], check=True)

    def run(self, netns: str, *argv: str) -> "subprocess.CompletedProcess[str]":
        command = ["nsenter", f"--net=/run/netns/{netns}", *argv]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    def start(self, netns: str, name: str, argv: Sequence[str], **env: str) -> Daemon:
        daemon = Daemon(netns, argv, self.directory / f"{name}.log", env)
        self._daemons.append(daemon)
        return daemon

    def write(self, name: str, text: str, mode: int = 0o640) -> Path:
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def start_router(self, plan: RouterPlan) -> list[Daemon]:
        """Start what a plan says and wait until it is ready."""
        for path, planned in plan.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.chown(path.parent, plan.owner, plan.owner)
            path.write_text(planned.text)
            path.chmod(planned.mode)
            shutil.chown(path, planned.owner, planned.owner)
        daemons = [self.start(self.router, p.name, p.argv, **p.environment) for p in plan.processes]
        wait_for("router ready", lambda: self.run(self.router, *plan.ready).returncode == 0)
        return daemons

    def gateways(self, prefix: str = VIP) -> list[str]:
        """Return the next hops of a route in the router's kernel, sorted."""
        version = "-6" if ":" in prefix else "-4"
        output = self.run(self.router, "ip", version, "-j", "route", "show", prefix).stdout
        found: list[dict[str, Any]] = json.loads(output or "[]")
        hops = [hop for route in found for hop in route.get("nexthops", [route])]
        return sorted(hop["gateway"] for hop in hops if "gateway" in hop)

    def weights(self, prefix: str) -> dict[str, int]:
        """Return the weights of a multipath route's next hops in the router's kernel."""
        version = "-6" if ":" in prefix else "-4"
        output = self.run(self.router, "ip", version, "-j", "route", "show", prefix).stdout
        found: list[dict[str, Any]] = json.loads(output or "[]")
        hops = [hop for route in found for hop in route.get("nexthops", ())]
        return {hop["gateway"]: hop["weight"] for hop in hops}

    def bgpctl(self, plan: RouterPlan, *words: str) -> str:
        done = self.run(self.router, *plan.bgpctl, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


class SpeakerProcess:
    """`cairn speaker` on one node, and the agent's end of its socket."""

    def __init__(self, bed: Bed, number: int, *options: str) -> None:
        self.bed = bed
        self.options = options
        self.number = number
        self.address = NODES[number]
        self.socket_path = bed.directory / f"speaker{number}.sock"
        self.state_path = bed.directory / f"speaker{number}.json"
        self.daemon = self._start()

    def _start(self) -> Daemon:
        argv = [*CAIRN, "speaker", "--socket", str(self.socket_path)]
        argv += ["--state", str(self.state_path), *self.options]
        daemon = self.bed.start(self.bed.nodes[self.number], f"speaker{self.number}", argv)
        wait_for("speaker's socket", self._answers)
        return daemon

    def _answers(self) -> bool:
        try:
            self.ask({"get": "state"})
        except (OSError, ValueError):
            return False
        return True

    def restart(self, number: signal.Signals) -> None:
        self.daemon.stop(number)
        self.daemon = self._start()

    def ask(self, request: Any) -> dict[str, Any]:
        line = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.socket_path))
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                return dict(json.loads(answers.readline()))

    def apply(self, config: SpeakerConfig) -> None:
        answer = self.ask(save_config(config))
        assert answer["event"] == "applied", answer

    def peer(self) -> dict[str, Any]:
        (peer,) = self.ask({"get": "state"})["peers"]
        return dict(peer)

    def is_established(self) -> bool:
        return bool(self.peer()["state"] == "Established")

    def wait_established(self) -> None:
        wait_for(f"node {self.number} established", self.is_established)


def speaker_config(
    number: int,
    *,
    asn: int = 64512,
    router_asn: int = 64512,
    prefixes: Sequence[str] = (f"{VIP}/32",),
    **peer: Any,
) -> SpeakerConfig:
    """Return the state of a node that peers with the router and announces `prefixes`."""
    values: dict[str, Any] = {
        "name": "router",
        "address": parse_address(ROUTER),
        "remote_asn": router_asn,
        "local_asn": asn,
        "hold_time_s": 9,
        "next_hops": (parse_address(NODES[number]), parse_address(NODES6[number])),
        **peer,
    }
    return SpeakerConfig(
        router_id=NODES[number],
        asn=asn,
        peers=(PeerSpec(**values),),
        routes=tuple(Announcement(parse_network(prefix)) for prefix in prefixes),
    )


@contextlib.contextmanager
def watching(bed: Bed, prefix: str = VIP) -> Iterator[set[tuple[str, ...]]]:
    """Collect every set of next hops that the router's kernel holds while the body runs."""
    seen: set[tuple[str, ...]] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(tuple(bed.gateways(prefix)))
            done.wait(0.02)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the body took."""
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.3f} s")
