"""A real `cairn api` on loopback, and the processes that work against it."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cairn.api.kubeconfig import write_kubeconfig
from cairn.drive.kube_client import ApiError, Client
from cairn.kube import crds
from cairn.kube.resource import CRDS

DEADLINE_S = 30.0
CAIRN = [sys.executable, "-m", "cairn.cli.main"]


class Processes:
    """Starts commands and ends them with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen([*CAIRN, *argv], stderr=log, stdout=log)
        self.running.append(process)
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def kubeconfig(processes: Processes, tmp_path: Path, free_port: int) -> Path:
    """Start the API server and return the admin's kubeconfig."""
    address = f"127.0.0.1:{free_port}"
    pki = tmp_path / "pki"
    server = processes.start(
        "api", "api", "--data", str(tmp_path / "data"), "--pki", str(pki), "--listen", address,
        "--service-cidr", "10.96.0.0/16", "--service-cidr", "fd00:10:96::/112",
    )  # fmt: skip
    deadline = time.monotonic() + DEADLINE_S
    while "serving on" not in processes.log("api"):
        assert server.poll() is None, processes.log("api")
        assert time.monotonic() < deadline, processes.log("api")
        time.sleep(0.05)
    path = tmp_path / "kubeconfig"
    certificate = (pki / "admin.crt").read_bytes(), (pki / "admin.key").read_bytes()
    ca = (pki / "ca.crt").read_bytes()
    write_kubeconfig(path, f"https://{address}", ca_pem=ca, client=certificate)
    return path


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    async with Client.connect(str(kubeconfig)) as found:
        for crd in crds.load():
            await found.create(CRDS, crd)
        yield found


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def until() -> Callable[..., Any]:
    """Return a function that waits until `look` returns something true, and returns that."""

    async def wait(look: Callable[[], Any], what: str, *, deadline_s: float = DEADLINE_S) -> Any:
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        found: Any = None
        while loop.time() < end:
            try:
                found = await look()
            except ApiError as error:
                found = None
                last: object = error
            else:
                last = found
            if found:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"not within {deadline_s} s: {what}; last seen {last!r}")

    return wait
