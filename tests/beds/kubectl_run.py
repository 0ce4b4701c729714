"""One kubectl on one lab, in a namespace of its own: runs, streams, terminals."""

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import yaml

DEADLINE_S = 30.0


class Stream:
    """A kubectl that goes on, and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", fd: int) -> None:
        self.process = process
        self.text = ""
        self._fd = fd

    def until(self, wanted: str, *, within_s: float = DEADLINE_S) -> str:
        """Read until `wanted` has come; return all that was printed so far."""
        end = time.monotonic() + within_s
        while wanted not in self.text:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {wanted!r} within {within_s} s in: {self.text!r}"
            assert self._read(), f"ended without {wanted!r}: {self.text!r}"
        return self.text

    def end(self) -> int:
        """Read to the end; return the exit status."""
        while self._read():
            pass
        return self.process.wait(DEADLINE_S)

    def _read(self) -> bool:
        try:
            chunk = os.read(self._fd, 65536)
        except OSError:  # the far side of a terminal is closed
            chunk = b""
        self.text += chunk.decode(errors="replace")
        return bool(chunk)


class Kubectl:
    """A kubectl binary, a cluster, a namespace."""

    def __init__(self, binary: str, kubeconfig: str, namespace: str) -> None:
        self.namespace = namespace
        self._argv = (binary, "--kubeconfig", kubeconfig, "--namespace", namespace)

    def __call__(self, *words: str, stdin: str | None = None, status: int | None = 0) -> str:
        """Run a command that ends with `status`; return what it printed on both outputs.

        A status of None stands for any.
        """
        done = subprocess.run(
            (*self._argv, *words),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=90,
        )
        good = status in (None, done.returncode)
        assert good, f"{' '.join(words)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def rows(self, *words: str) -> list[list[str]]:
        """Run `get` and return the cells of its rows, the header first."""
        return [line.split() for line in self("get", *words).splitlines()]

    def read(self, *words: str) -> Any:
        """Run `get` with -o yaml and return what it says."""
        return yaml.safe_load(self("get", *words, "-o", "yaml"))

    def apply(self, *objects: dict[str, Any], how: tuple[str, ...] = ()) -> str:
        """Apply objects."""
        return self("apply", *how, "-f", "-", stdin=yaml.safe_dump_all(objects))

    def run_pod(self, name: str, *argv: str, **more: Any) -> None:
        """Create a pod of the toolbox that runs `argv`, and wait until it has started."""
        container = {"name": "main", "image": "toolbox", "command": list(argv)}
        spec = {"containers": [container], "restartPolicy": "Never"} | more
        spec.setdefault("terminationGracePeriodSeconds", 1)  # a shell as process 1 hears no TERM
        metadata = {"name": name, "labels": {"run": name}}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        self("wait", "--for=condition=PodScheduled", f"pod/{name}", "--timeout=20s")

    @contextlib.contextmanager
    def start(self, *words: str) -> Iterator[Stream]:
        """Run a command that goes on until it is left."""
        process = subprocess.Popen(
            (*self._argv, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        with process.stdout:
            try:
                yield Stream(process, process.stdout.fileno())
            finally:
                process.kill()
                process.wait(10)

    @contextlib.contextmanager
    def terminal(self, *words: str) -> Iterator[tuple[Stream, int]]:
        """Run a command on a terminal; yields what it prints, and where to type."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            (*self._argv, *words), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        try:
            yield Stream(process, master), master
        finally:
            process.kill()
            process.wait(10)
            os.close(master)
