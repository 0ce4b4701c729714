"""Containers as processes: started under a shim, found again, signalled, waited for.

    ContainerPlan  ->  Running  ->  Exit

Invariants  A container is known by pid and start time of itself and of its shim, in RUN.json;
            a new kubelet takes over what an old one started.
            When the shim is gone without a record, the container is killed: nobody keeps its log.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import cairn
from cairn.lab.kubelet.shim import timestamp
from cairn.lab.state import write_whole
from cairn.linux import cgroup
from cairn.linux.process import Identity, identity_of, open_process, send_signal

START_TIMEOUT_S = 30.0


class StartFailed(Exception):
    """A container that did not start; the text says at which step and why."""


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """All that the shim must know; written as JSON."""

    argv: list[str]
    """Program and arguments."""
    environment: dict[str, str]
    """All of its environment."""
    directory: str
    """Working directory."""
    hostname: str
    """Host name seen inside."""
    netns: str
    """File of the pod's network namespace; empty for the node's own."""
    group: str
    """Control group of the container."""
    shim_group: str
    """Control group of the shim."""
    binds: list[tuple[str, str, bool]]
    """Source on the machine, target in the container, whether read-only; in this order."""
    shared: list[str]
    """Mounts of the machine that the container sees as they are."""
    scratch: str
    """Folder that the container's root is put together on."""
    log: str
    """Log file."""
    shim_log: str
    """Where the shim's own troubles go."""
    exit: str
    """Where the shim records the end."""
    uid: int | None = None
    """User, None for root."""
    gid: int | None = None
    """Group, None for root's."""
    tty: bool = False
    """Whether the container has a terminal."""
    stdin: bool = False
    """Whether its standard input is kept open for `kubectl attach`."""
    stdin_fifo: str = ""
    """What is written there reaches the standard input."""


@dataclass(frozen=True, slots=True)
class Running:
    """A container that was started."""

    process: Identity
    """Its first process."""
    shim: Identity
    """The shim over it."""
    attempt: int
    """How often the container had been started before."""
    started_at: str
    """When, RFC 3339."""
    folder: str
    """The container's folder."""
    group: str
    """The container's control group."""
    log: str
    """Log file of this attempt."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended."""

    code: int
    """Exit status; 128 and the signal's number if a signal ended it."""
    signal: int
    """Number of the signal, 0 if none."""
    finished_at: str
    """When, RFC 3339."""
    message: str = ""
    """What else is to be said."""


async def start(plan: ContainerPlan, folder: Path, attempt: int) -> Running:
    """Start a container; raises StartFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    cgroup.create(Path(plan.group))
    cgroup.create(Path(plan.shim_group))
    (folder / "exit.json").unlink(missing_ok=True)
    if plan.stdin:
        fifo = Path(plan.stdin_fifo)
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo, 0o600)
    write_whole(folder / "plan.json", json.dumps(asdict(plan)), 0o600)
    reply = await _call_shim(folder / "plan.json")
    if "error" in reply:
        raise StartFailed(str(reply["error"]))
    process = identity_of(int(str(reply["pid"])))
    shim = identity_of(int(str(reply["shim"])))
    running = Running(
        process=process or Identity(int(str(reply["pid"])), 0),
        shim=shim or Identity(int(str(reply["shim"])), 0),
        attempt=attempt,
        started_at=timestamp(),
        folder=str(folder),
        group=plan.group,
        log=plan.log,
    )
    write_whole(folder / "run.json", json.dumps(asdict(running)))
    return running


async def _call_shim(plan: Path) -> dict[str, object]:
    source = Path(cairn.__file__).parents[1]
    shim = await asyncio.create_subprocess_exec(
        sys.executable,
        "-S",
        "-m",
        "cairn.lab.kubelet.shim",
        str(plan),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(source), "PATH": os.environ.get("PATH", os.defpath)},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            out, err = await shim.communicate()
    except TimeoutError:
        shim.kill()
        raise StartFailed(f"the shim did not answer within {START_TIMEOUT_S:.0f} s") from None
    try:
        reply: dict[str, object] = json.loads(out)
    except ValueError:
        last = err.decode(errors="replace").strip().rpartition("\n")[2]
        raise StartFailed(f"the shim failed: {last or f'exit status {shim.returncode}'}") from None
    return reply


def load(folder: Path) -> Running | None:
    """Return the container that was last started in `folder`, running or not."""
    try:
        raw = json.loads((folder / "run.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    raw["process"] = Identity(**raw["process"])
    raw["shim"] = Identity(**raw["shim"])
    return Running(**raw)


async def wait(running: Running) -> Exit:
    """Wait until the container has ended, and return how."""
    fd = open_process(running.shim)
    if fd is not None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)
    try:
        raw = json.loads((Path(running.folder) / "exit.json").read_text())
        return Exit(raw["exitCode"], raw["signal"], raw["finishedAt"])
    except (FileNotFoundError, ValueError):
        await asyncio.to_thread(cgroup.kill, Path(running.group))
        return Exit(137, signal.SIGKILL, timestamp(), "its shim ended without a record")


def terminate(running: Running) -> bool:
    """Ask the container's first process to end; return whether it was there."""
    return send_signal(running.process, signal.SIGTERM)


async def kill(running: Running) -> None:
    """End every process of the container."""
    await asyncio.to_thread(cgroup.kill, Path(running.group))
