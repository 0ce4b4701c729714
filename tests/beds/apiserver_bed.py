"""An API server's core without I/O, and a real `cairn api` process, for the tests beside this."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from kubectls import TOOLS, require

from cairn.api.kubeconfig import write_kubeconfig
from cairn.api.pki import Pki, ensure_pki
from cairn.apiserver.allocation import Allocations
from cairn.apiserver.builtin import BUILTIN
from cairn.apiserver.collect import affected, collect
from cairn.apiserver.environment import Environment
from cairn.apiserver.request import (
    JSON,
    Reply,
    User,
    Watch,
    Write,
    refusal_reply,
    request_of,
)
from cairn.apiserver.serve import Server, registry_of
from cairn.apiserver.status import Refused
from cairn.apiserver.store import Change, Store, Transaction
from cairn.apiserver.watch import Watcher

ADMIN = User("admin", ("system:masters",))
SERVE = "import sys; from cairn.api.main import main; sys.exit(main(sys.argv[1:]))"


@dataclass
class Answer:
    """What the server answered."""

    code: int
    value: Any
    headers: dict[str, str] = field(default_factory=dict)


class Core:
    """A server core whose writes are committed at once, under a clock of its own."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        numbers = count(1)
        environment = Environment(
            lambda: self.now, lambda: f"uid-{next(numbers)}", lambda: f"{next(numbers):05d}"
        )
        ranges = {"IPv4": ip_network("10.96.0.0/16")}
        self.server = Server(Store(), environment, Allocations(ranges), registry_of(BUILTIN))
        self.environment = environment
        self.send("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})

    def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        accept: str = "",
        user: User | None = ADMIN,
    ) -> Answer:
        """Send a request and carry it out."""
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        headers = {"content-type": content_type, "accept": accept}
        try:
            outcome = self.server.handle(request_of(method, target, headers, data, user))
            reply = self._carry_out(outcome) if isinstance(outcome, Write) else outcome
        except Refused as refused:
            reply = refusal_reply(refused)
        assert isinstance(reply, Reply), reply
        text = b"".join(reply.body)
        value = json.loads(text) if "json" in reply.content_type and text else text
        return Answer(reply.code, value, dict(reply.headers))

    def create(self, target: str, obj: dict[str, Any]) -> dict[str, Any]:
        """Create an object; returns it as stored."""
        answer = self.send("POST", target, obj)
        assert answer.code == 201, answer.value
        value: dict[str, Any] = answer.value
        return value

    def watch(self, target: str) -> tuple[Watcher, list[dict[str, Any]]]:
        """Open a watch; returns it with the list that its events go to."""
        outcome = self.server.handle(request_of("GET", target, {}, b"", ADMIN))
        assert isinstance(outcome, Watch)
        events: list[dict[str, Any]] = []
        return outcome.open(lambda line: events.append(json.loads(line))), events

    def collect(self, changes: list[Change]) -> None:
        """Collect garbage until nothing is left to do."""
        due = affected(self.server.store, changes)
        while due:
            txn = Transaction(self.server.store)
            collect(txn, self.environment, self.server.registry, due.pop())
            self.server.committed(txn.changes)
            due |= affected(self.server.store, txn.changes)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def _carry_out(self, write: Write) -> Reply:
        txn = Transaction(self.server.store)
        result = write.operate(txn)
        if write.dry_run:
            txn.rollback(0)
        self.server.committed(txn.changes)
        self.collect(txn.changes)
        return write.reply(result)


@pytest.fixture
def core() -> Core:
    return Core()


@dataclass
class Process:
    """A running `cairn api`."""

    data: Path
    port: int
    pki: Pki
    popen: "subprocess.Popen[bytes]"
    kubeconfig: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it as a power cut would: at once."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def start(self) -> None:
        """Start it again, on the same port and data."""
        self.popen = start_api(self.data, self.port)[0]

    def kubectl(
        self, *arguments: str, given: str = "", binary: str = "kubectl", check: bool = True
    ) -> str:
        """Run kubectl; returns what it printed."""
        ran = subprocess.run(
            [binary, "--kubeconfig", str(self.kubeconfig), *arguments],
            input=given, capture_output=True, text=True, timeout=60,
            env=os.environ | {"HOME": str(self.data)},
        )  # fmt: skip
        if check:
            assert ran.returncode == 0, f"{arguments}: {ran.stdout}{ran.stderr}"
        return ran.stdout + ran.stderr


def start_api(data: Path, port: int = 0) -> tuple["subprocess.Popen[bytes]", int]:
    """Start `cairn api`; returns the process and its port once it serves."""
    popen = subprocess.Popen(
        [sys.executable, "-c", SERVE, "--data", str(data), "--listen", f"127.0.0.1:{port}"],
        stderr=subprocess.PIPE,
    )
    assert popen.stderr is not None
    line = popen.stderr.readline().decode()
    assert "serving on" in line, line
    return popen, int(line.split("127.0.0.1:")[1].split(",")[0])


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Process]:
    popen, port = start_api(tmp_path / "data")
    pki = ensure_pki(tmp_path / "data" / "pki")
    kubeconfig = tmp_path / "kubeconfig"
    admin = (pki.admin[0].read_bytes(), pki.admin[1].read_bytes())
    write_kubeconfig(kubeconfig, f"https://127.0.0.1:{port}", ca_pem=pki.ca_pem, client=admin)
    process = Process(tmp_path / "data", port, pki, popen, kubeconfig)
    yield process
    process.popen.terminate()
    process.popen.wait(10)


@pytest.fixture(params=list(TOOLS.values()), ids=list(TOOLS))
def kubectl(request: pytest.FixtureRequest, api: Process) -> Callable[..., str]:
    binary = require(request.param)

    def run(*arguments: str, given: str = "", check: bool = True) -> str:
        return api.kubectl(*arguments, given=given, binary=binary, check=check)

    return run


def wait_for(condition: Callable[[], Any], *, limit_s: float = 15.0) -> Any:
    """Return the condition's first true value; fails after `limit_s`."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {limit_s} s: {condition}")


@pytest.fixture(name="wait_for")
def wait_for_fixture() -> Callable[..., Any]:
    return wait_for
