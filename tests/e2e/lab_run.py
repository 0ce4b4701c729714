"""A lab for tests: brought up by the command a user types, watched from outside, taken down."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
CAIRN = str(ROOT / ".venv" / "bin" / "cairn")
PYTHON = str(ROOT / ".venv" / "bin" / "python")
SCENARIO = ROOT / "src" / "cairn" / "lab" / "manifests" / "scenario"
KUBECTL = shutil.which("kubectl") or "kubectl"
VIP = "192.168.1.100"
NODES = ("192.168.1.10", "192.168.1.11", "192.168.1.12")

T = TypeVar("T")


def run(*argv: str, check: bool = True, timeout_s: float = 120, **more: Any) -> str:
    """Run a command and return what it printed; fails with its output."""
    done = subprocess.run(
        argv, text=True, errors="replace", capture_output=True, timeout=timeout_s, **more
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def wait_for(what: str, condition: Callable[[], T], *, within_s: float = 20) -> T:
    """Return the first true value of `condition`; fails, saying `what`, when time runs out."""
    end = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {within_s} s (last: {value!r})")
        time.sleep(0.02)


class LabRun:
    """One running lab."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self.options = options
        self.kubeconfig = f"/run/cairn/{name}/kubeconfig"

    def up(self) -> str:
        return self.cairn("lab", "up", "--name", self.name, *self.options, timeout_s=240)

    def down(self) -> str:
        return self.cairn("lab", "down", "--name", self.name)

    def cairn(self, *argv: str, check: bool = True, timeout_s: float = 60) -> str:
        environment = os.environ | {"KUBECONFIG": self.kubeconfig}
        return run(CAIRN, *argv, check=check, timeout_s=timeout_s, env=environment)

    def on(self, host: str, *argv: str, check: bool = True, timeout_s: float = 60) -> str:
        """Run a command on a host, as `cairn lab exec` does for a user."""
        words = ("lab", "exec", "--name", self.name, host, "--", *argv)
        return self.cairn(*words, check=check, timeout_s=timeout_s)

    def start_on(self, host: str, *argv: str) -> "subprocess.Popen[str]":
        """Start a command on a host and return the process."""
        words = (CAIRN, "lab", "exec", "--name", self.name, host, "--", *argv)
        return subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def kubectl(self, *argv: str, check: bool = True, stdin: str | None = None) -> str:
        return run(KUBECTL, "--kubeconfig", self.kubeconfig, *argv, check=check, input=stdin)

    def get(self, *argv: str) -> Any:
        return json.loads(self.kubectl("get", *argv, "-o", "json"))

    def apply(self, manifest: str) -> str:
        return self.kubectl("apply", "-f", "-", stdin=manifest)

    def netns(self, host: str) -> str:
        return f"cairn-{self.name}-{host}"

    def next_hops(self, prefix: str = VIP, host: str = "router") -> list[str]:
        """Return the next hops of a route in a host's kernel; much faster than `exec`."""
        family = "-6" if ":" in prefix else "-4"
        words = ("ip", "-n", self.netns(host), "-j", family, "route", "show", prefix)
        text = run(*words, check=False)
        routes = json.loads(text or "[]")
        if not routes:
            return []
        hops = [hop["gateway"] for hop in routes[0].get("nexthops", ())]
        return sorted(hops or [routes[0]["gateway"]])

    def pods(self, selector: str, namespace: str = "default") -> list[dict[str, Any]]:
        found = self.get("pods", "-n", namespace, "-l", selector)["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def web(self, host: str = "client-1", url: str = f"http://{VIP}") -> dict[str, str]:
        """Fetch a page and return its lines as a mapping."""
        text = self.on(host, "curl", "-sS", "--max-time", "5", url)
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


class Talk:
    """A command on a host that answers each line of its input by a line of JSON."""

    def __init__(self, lab: LabRun, host: str, *argv: str) -> None:
        words = (CAIRN, "lab", "exec", "--name", lab.name, host, "--", *argv)
        self._process = subprocess.Popen(
            words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.begun = self._read()
        """What it said by itself when it was ready."""

    def ask(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def end(self) -> None:
        """End a command that does not end by itself."""
        self._process.terminate()
        self._process.communicate(timeout=30)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))
