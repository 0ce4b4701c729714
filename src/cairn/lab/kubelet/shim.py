"""The process that stands over one container: starts it, writes its log, records its end.

    PLAN.json  ->  the container's process; one JSON line on stdout; LOG; EXIT.json

Run as `python -S -m cairn.lab.kubelet.shim PLAN.json`.  It answers {"pid", "shim"} once the
program runs, or {"error"}, and stays in the background.  It outlives the kubelet.

Invariants  The container is in its control group before it opens any socket.
            EXIT.json is written last: once it is there, the log is whole.
Standards   CRI log format: "TIME STREAM P|F TEXT"
Not here    What to run (container_plan.py).  Imports are few: there is a shim for each container.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from cairn.linux.system_call import Clone, MountFlag, mount, setns, unshare

MOVE = MountFlag(0x2000)
CHUNK_BYTES = 16384
STDIN_END = b"\0EOF\0"
"""Written to the fifo last, it ends the container's standard input."""
LOG_LIMIT_BYTES = 10 * 1024 * 1024
"""A log that grows over this is put aside as LOG.old, once."""


def timestamp() -> str:
    """Return the present time as container logs carry it."""
    now_ns = time.time_ns()
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_ns // 1_000_000_000))
    return f"{whole}.{now_ns % 1_000_000_000:09d}Z"


class LogFile:
    """Appends lines in CRI form; a line longer than a chunk is cut into partial ones."""

    def __init__(self, path: str, *, prompt: bool) -> None:
        self._path = path
        self._prompt = prompt
        self._pending: dict[str, bytes] = {}
        self._fd = self._open()

    def _open(self) -> int:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def take(self, stream: str, data: bytes) -> None:
        """Write what is whole of `data`, and at once all of it if someone waits for a prompt."""
        *lines, rest = (self._pending.get(stream, b"") + data).split(b"\n")
        text = b"".join(self._entry(stream, b"F", line) for line in lines)
        if rest and (self._prompt or len(rest) >= CHUNK_BYTES):
            text += self._entry(stream, b"P", rest)
            rest = b""
        self._pending[stream] = rest
        self._write(text)

    def finish(self) -> None:
        """Write lines that never ended."""
        for stream, rest in self._pending.items():
            if rest:
                self._write(self._entry(stream, b"F", rest))
        os.close(self._fd)

    def _entry(self, stream: str, tag: bytes, text: bytes) -> bytes:
        return b"%s %s %s %s\n" % (timestamp().encode(), stream.encode(), tag, text)

    def _write(self, text: bytes) -> None:
        try:
            os.write(self._fd, text)
            if os.fstat(self._fd).st_size > LOG_LIMIT_BYTES:
                os.close(self._fd)
                os.replace(self._path, self._path + ".old")
                self._fd = self._open()
        except OSError as error:  # a full disk must not stop the container
            sys.stderr.write(f"log {self._path}: {error}\n")


def main(argv: list[str]) -> int:
    """Start the container of the plan; return once it runs or has failed to."""
    with open(argv[0]) as file:
        plan = json.load(file)
    answer, report = os.pipe()
    if os.fork():
        os.close(report)
        with os.fdopen(answer) as reply:
            sys.stdout.write(reply.read())
        return 0
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDWR)
    trouble = os.open(plan["shim_log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((quiet, 0), (quiet, 1), (trouble, 2)):
        os.dup2(source, target)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    _run(plan, report)
    return 0


def _run(plan: dict[str, Any], report: int) -> None:
    with open(plan["shim_group"] + "/cgroup.procs", "w") as file:
        file.write("0")
    streams = _Streams(plan)
    failure, failed = os.pipe()
    unshare(Clone.NEWPID)
    pid = os.fork()
    if pid == 0:
        _become_container(plan, streams, failed)
    os.close(failed)
    streams.keep_ours()
    with os.fdopen(failure, "rb") as file:
        problem = file.read().decode(errors="replace")
    reply = {"error": problem} if problem else {"pid": pid, "shim": os.getpid()}
    os.write(report, json.dumps(reply).encode())
    os.close(report)
    if problem:
        os.waitpid(pid, 0)
        return
    log = LogFile(plan["log"], prompt=plan["tty"] or plan["stdin"])
    streams.pump(log)
    _, status = os.waitpid(pid, 0)
    log.finish()
    code = os.waitstatus_to_exitcode(status)
    record = {
        "exitCode": code if code >= 0 else 128 - code,
        "signal": -code if code < 0 else 0,
        "finishedAt": timestamp(),
    }
    aside = plan["exit"] + ".new"
    with open(aside, "w") as record_file:
        json.dump(record, record_file)
    os.replace(aside, plan["exit"])


class _Streams:
    """Both ends of the container's standard streams."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._tty = bool(plan["tty"])
        self._fifo = -1
        if plan["stdin"]:
            # Opened for both ways, so that it neither blocks nor ends with the first writer.
            self._fifo = os.open(plan["stdin_fifo"], os.O_RDWR | os.O_CLOEXEC)
        if self._tty:
            master, slave = os.openpty()
            self.theirs = (slave, slave, slave)
            self._outputs = {master: "stdout"}
            self._input = master
        else:
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            (inner, self._input) = os.pipe() if plan["stdin"] else (null, -1)
            out, out_end = os.pipe()
            err, err_end = os.pipe()
            self.theirs = (inner, out_end, err_end)
            self._outputs = {out: "stdout", err: "stderr"}

    def attach(self) -> None:
        """In the container's process: make the streams its standard ones."""
        for target, source in enumerate(self.theirs):
            os.dup2(source, target)
        os.setsid()
        if self._tty:
            os.close(os.open(os.ttyname(0), os.O_RDWR))  # the first terminal opened is ours

    def keep_ours(self) -> None:
        """In the shim: close the container's ends."""
        for fd in set(self.theirs):
            os.close(fd)

    def pump(self, log: LogFile) -> None:
        """Copy until the container has closed all its outputs."""
        poll = select.poll()
        for fd in self._outputs:
            poll.register(fd, select.POLLIN)
        if self._fifo >= 0:
            poll.register(self._fifo, select.POLLIN)
        left = set(self._outputs)
        while left:
            for fd, _ in poll.poll():
                if fd == self._fifo:
                    self._feed(poll)
                elif data := _read(fd):
                    log.take(self._outputs[fd], data.replace(b"\r\n", b"\n") if self._tty else data)
                else:
                    poll.unregister(fd)
                    left.discard(fd)

    def _feed(self, poll: select.poll) -> None:
        data = _read(self._fifo)
        try:
            os.write(self._input, data.removesuffix(STDIN_END))
            if data.endswith(STDIN_END):
                raise BrokenPipeError
        except OSError:
            poll.unregister(self._fifo)
            if not self._tty:
                os.close(self._input)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK_BYTES)
    except OSError:  # EIO: the last process has closed the terminal
        return b""


def _become_container(plan: dict[str, Any], streams: _Streams, failed: int) -> NoReturn:
    step = "start"
    try:
        step = "join the control group"
        with open(plan["group"] + "/cgroup.procs", "w") as file:
            file.write("0")
        if plan["netns"]:
            step = "join the pod's network"
            setns(os.open(plan["netns"], os.O_RDONLY | os.O_CLOEXEC), Clone.NEWNET)
        unshare(Clone.NEWNS | Clone.NEWUTS | Clone.NEWIPC)
        step = "mount"
        _build_root(plan)
        socket.sethostname(plan["hostname"])
        streams.attach()
        step = "change to the working directory"
        os.makedirs(plan["directory"], exist_ok=True)
        os.chdir(plan["directory"])
        step = "take the user"
        if plan["gid"] is not None:
            os.setgroups([])
            os.setgid(plan["gid"])
        if plan["uid"] is not None:
            os.setuid(plan["uid"])
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        step = f"exec: {plan['argv'][0]!r}"
        os.environ["PATH"] = plan["environment"].get("PATH", os.defpath)
        os.execvpe(plan["argv"][0], plan["argv"], plan["environment"])  # noqa: S606
    except OSError as error:
        where = f" {error.filename}" if error.filename and "exec" not in step else ""
        os.write(failed, f"{step}{where}: {error.strerror}".encode())
    except BaseException as error:
        os.write(failed, f"{step}: {error}".encode())
    os._exit(128)


def _build_root(plan: dict[str, Any]) -> None:
    """Give the container a root of its own: the machine's, with writes kept apart."""
    mount("", "/", "", MountFlag.REC | MountFlag.SLAVE)
    sources = [os.open(source, os.O_PATH | os.O_CLOEXEC) for source, _, _ in plan["binds"]]
    scratch = plan["scratch"]
    os.makedirs(scratch, exist_ok=True)
    mount("tmpfs", scratch, "tmpfs", MountFlag.NONE, "mode=0755")
    upper, work, root = (f"{scratch}/{name}" for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        os.mkdir(folder)
    options = f"lowerdir=/,upperdir={upper},workdir={work}"
    mount("overlay", root, "overlay", MountFlag.NONE, options)
    for path in plan["shared"]:
        os.makedirs(root + path, exist_ok=True)
        mount(path, root + path, "", MountFlag.BIND | MountFlag.REC)
    mount("proc", f"{root}/proc", "proc", MountFlag.NONE)
    mount("tmpfs", f"{root}/run", "tmpfs", MountFlag.NONE, "mode=0755")
    if plan["netns"]:
        mount("sysfs", f"{root}/sys", "sysfs", MountFlag.NONE)
    else:
        mount("/sys", f"{root}/sys", "", MountFlag.BIND | MountFlag.REC)
        os.mkdir(f"{root}/run/netns")
        mount("/run/netns", f"{root}/run/netns", "", MountFlag.BIND | MountFlag.REC)
    # From here on symbolic links in targets mean what they mean to the container.
    os.chdir(root)
    mount(root, "/", "", MOVE)
    os.chroot(".")
    os.chdir("/")
    for fd, (source, target, read_only) in zip(sources, plan["binds"], strict=True):
        _bind(fd, source, target, read_only)


def _bind(fd: int, source: str, target: str, read_only: bool) -> None:
    real = f"/proc/self/fd/{fd}"
    if os.path.isdir(real):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    try:
        mount(real, target, "", MountFlag.BIND | MountFlag.REC)
        if read_only:
            mount("", target, "", MountFlag.REMOUNT | MountFlag.BIND | MountFlag.RDONLY)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{source} on {target}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
