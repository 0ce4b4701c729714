"""A lab's record: its name, size and choices, and where everything of it lies.

    name  ->  paths below /run/cairn, /var/lib/cairn/lab, /sys/fs/bpf and cgroup v2
    Lab  <->  /run/cairn/LAB/lab.json

Invariants  A name holds no dash: all names of a lab's things begin with `cairn-LAB-`, and no
            lab's prefix is the prefix of another.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cairn.linux import cgroup, namespace

RUN_ROOT = Path("/run/cairn")
STATE_ROOT = Path("/var/lib/cairn/lab")
BPF_ROOT = Path("/sys/fs/bpf")
DEFAULT_NAME = "home"
_NAME = re.compile(r"[a-z][a-z0-9]{0,14}")


class LabError(Exception):
    """Something a user can act on: one line that says what, where and what to do."""


class WrongUsage(LabError):
    """What was typed cannot mean anything here, whatever the lab's state."""


@dataclass(frozen=True, slots=True)
class Lab:
    """What was asked for when the lab was brought up, and where it lies."""

    name: str
    """Its name, unique on the machine."""
    nodes: tuple[int, ...] = (1, 2, 3)
    """Numbers of its nodes."""
    far: tuple[int, ...] = ()
    """Those of them that stand on the second subnet."""
    router: str = "cairn"
    """Which software routes: cairn, frr, bird or openbgpd."""
    port: int = 0
    """Loopback port of the API server; 0 until chosen."""
    state: str = ""
    """Folder of the durable state; empty for the default one."""

    @property
    def run(self) -> Path:
        """Sockets, pids and kubeconfigs; goes with the lab."""
        return RUN_ROOT / self.name

    @property
    def durable(self) -> Path:
        """Database, keys and logs."""
        return Path(self.state) if self.state else STATE_ROOT / self.name

    @property
    def pki(self) -> Path:
        """Certificates and keys of the cluster."""
        return self.durable / "pki"

    @property
    def logs(self) -> Path:
        """One file for each process that the supervisor runs."""
        return self.durable / "log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, by way of the machine's loopback."""
        return self.run / "kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """The administrator's kubeconfig for use on the lab's hosts."""
        return self.durable / "kubeconfig"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor listens."""
        return self.run / "supervise.sock"

    @property
    def router_socket(self) -> Path:
        """Where `cairn router` listens."""
        return self.run / "router" / "router.sock"

    @property
    def bin(self) -> Path:
        """Commands that stand first on the PATH of `cairn lab exec`."""
        return self.durable / "bin"

    @property
    def group(self) -> Path:
        """The control group that holds every process of the lab."""
        return cgroup.unified_root() / f"cairn-{self.name}"

    @property
    def pins(self) -> Path:
        """The folder of the BPF file system that holds every pin of the lab."""
        return BPF_ROOT / f"cairn-{self.name}"

    @property
    def netns_prefix(self) -> str:
        """What the names of all its network namespaces begin with."""
        return f"cairn-{self.name}-"

    def netns(self, host: str) -> str:
        """Return the name of a host's network namespace."""
        return self.netns_prefix + host

    def node_files(self, node: str) -> Path:
        """Return the folder of a node's own files, as a pod's hostPath sees them."""
        return self.run / "nodes" / node

    def node_kubeconfig(self, node: str) -> Path:
        """Return the kubelet's kubeconfig on a node."""
        return self.run / "kubelet" / f"{node}.kubeconfig"

    def host_etc(self, host: str) -> Path:
        """Return the folder with a host's `hosts` and `resolv.conf`."""
        return self.run / "etc" / host

    def pod_record(self, namespace_: str, name: str) -> Path:
        """Return the file in which the kubelet keeps where a pod's processes are."""
        return self.run / "pods" / namespace_ / f"{name}.json"


def check_name(name: str) -> str:
    """Return the name if a lab can have it."""
    if not _NAME.fullmatch(name):
        raise WrongUsage(
            f"lab name {name!r}: use 1 to 15 lower-case letters and digits, a letter first"
        )
    return name


def save_lab(lab: Lab) -> None:
    """Write the lab's record, whole or not at all."""
    lab.run.mkdir(parents=True, exist_ok=True)
    write_whole(lab.run / "lab.json", json.dumps(dataclasses.asdict(lab), indent=1) + "\n")


def load_lab(name: str) -> Lab:
    """Return the record of a lab that is up, or was when the machine's power went."""
    path = RUN_ROOT / check_name(name) / "lab.json"
    # A lab of another version of this program may have more to say.
    known = {field.name for field in dataclasses.fields(Lab)}
    try:
        raw = json.loads(path.read_text())
        items: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in known
        }
        return Lab(**items)
    except FileNotFoundError:
        raise LabError(
            f"no lab {name!r} runs here; start it with `cairn lab up --name {name}`"
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise LabError(f"{path}: {error}; run `cairn lab down --name {name}`") from None


@contextlib.contextmanager
def choosing() -> Iterator[None]:
    """Let one lab at a time choose its name and port."""
    RUN_ROOT.mkdir(parents=True, exist_ok=True)
    fd = os.open(RUN_ROOT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def exclusive(lab: Lab) -> Iterator[None]:
    """Hold the lab for one command that changes it; raises LabError if another one does."""
    lab.run.mkdir(parents=True, exist_ok=True)
    fd = os.open(lab.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LabError(
            f"another command is changing lab {lab.name}; wait for it, or use another --name"
        ) from None
    finally:
        os.close(fd)


def lab_names() -> list[str]:
    """Return the names of all labs that left any trace below /run/cairn, sorted."""
    if not RUN_ROOT.is_dir():
        return []
    return sorted(path.parent.name for path in RUN_ROOT.glob("*/lab.json"))


def namespaces_of(lab: Lab) -> list[str]:
    """Return the names of the lab's network namespaces, pods' included."""
    return namespace.names(lab.netns_prefix)


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old text or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    aside.replace(path)
