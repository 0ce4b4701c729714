"""Run a command as if on one of the lab's hosts, or inside one of its pods.

    HOST, argv  ->  the command in the host's namespaces and control group, its exit status

A node shows its own files where a real node has them: /sys/fs/bpf, /run/cairn, /etc/cni/net.d.

Invariants  The terminal, standard streams and exit status are the command's own.
Standards   setns(2), pid_namespaces(7)
"""

import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cairn.lab.state import Lab, LabError, WrongUsage
from cairn.linux import cgroup, mount, namespace
from cairn.linux.process import identity_of
from cairn.linux.system_call import Clone, unshare

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_OF_WORKLOAD = re.compile(r"([a-z0-9]{8,10}-)?[a-z0-9]{5}")
"""What a Deployment, ReplicaSet or DaemonSet adds to its name, and a dash, to name a pod."""


@dataclass(frozen=True, slots=True)
class PodProcesses:
    """Where a pod's processes are, as the kubelet recorded it."""

    netns: str
    """Name or path of the network namespace."""
    pids: dict[str, int]
    """First process of each container."""
    group: Path | None
    """The pod's control group."""
    ready: bool = False
    """Whether all its containers are ready."""


def hosts_with(lab: Lab) -> list[str]:
    """Return the names of the lab's hosts that one can enter."""
    skip = ("switch", "pod-")
    names = [name.removeprefix(lab.netns_prefix) for name in namespace.names(lab.netns_prefix)]
    return [name for name in names if not name.startswith(skip)]


def run_on_host(lab: Lab, host: str, argv: Sequence[str], environment: dict[str, str]) -> int:
    """Become the command on a host; returns only if it cannot be run."""
    if host not in hosts_with(lab):
        known = ", ".join([*hosts_with(lab), "pod/NAMESPACE/NAME"])
        raise LabError(f"no host {host!r} in lab {lab.name}; it has: {known}")
    cgroup.join(cgroup.create(lab.group / host / "exec"))
    namespace.enter(str(namespace.netns_path(lab.netns(host))), Clone.NEWNET)
    unshare(Clone.NEWNS)
    mount.make_slave()
    for source, target in _host_files(lab, host):
        if source.exists() and target.exists():
            mount.bind(source, target)
    return _become(argv, environment)


def run_in_pod(lab: Lab, pod: str, argv: Sequence[str], environment: dict[str, str]) -> int:
    """Run the command inside the first container of pod/NAMESPACE/NAME; return its exit status."""
    chosen = choose_pod(lab, pod)
    if chosen != pod:
        sys.stderr.write(f"cairn lab exec: {chosen}\n")
    pod, where = chosen, find_pod(lab, chosen)
    pid = next(iter(where.pids.values()), 0)
    if identity_of(pid) is None:
        raise LabError(f"{pod} runs no process now; see: kubectl describe {pod_reference(pod)}")
    if where.group is not None and where.group.is_dir():
        cgroup.join(cgroup.create(where.group / "exec"))
    kinds = Clone.NEWNET | Clone.NEWUTS | Clone.NEWIPC | Clone.NEWPID | Clone.NEWNS
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    namespace.enter_process(pid, kinds)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    os.chdir("/")
    child = os.fork()  # a PID namespace begins with the next child
    if child == 0:
        os._exit(_become(argv, environment))
    return _wait(child)


def choose_pod(lab: Lab, pod: str) -> str:
    """Return the pod of that name, else the first ready one of a workload of that name.

    Raises LabError if there is none, or if the beginning of a name does not tell which.
    """
    parts = pod.split("/")
    if len(parts) != 3 or not all(parts):
        raise WrongUsage(f"{pod!r}: write pod/NAMESPACE/NAME")
    if lab.pod_record(parts[1], parts[2]).exists():
        return pod
    everything = _running_pods(lab)
    begun = [name for name in everything if name.startswith(pod)]
    of_workload = [n for n in begun if _OF_WORKLOAD.fullmatch(n.removeprefix(f"{pod}-"))]
    found = of_workload or begun
    if not found:
        hint = ", ".join(everything) or "none"
        raise LabError(f"no {pod} runs in lab {lab.name}; running: {hint}")
    if len(found) > 1 and not of_workload:
        raise LabError(f"{pod} is the beginning of {', '.join(found)}; name one")
    return next((name for name in found if find_pod(lab, name).ready), found[0])


def _running_pods(lab: Lab) -> list[str]:
    return sorted(f"pod/{p.parent.name}/{p.stem}" for p in lab.run.glob("pods/*/*.json"))


def find_pod(lab: Lab, pod: str) -> PodProcesses:
    """Return where the processes of pod/NAMESPACE/NAME are; raises LabError."""
    _, namespace_, name = pod.split("/")
    try:
        raw = json.loads(lab.pod_record(namespace_, name).read_text())
    except FileNotFoundError:
        raise LabError(f"{pod} ended just now in lab {lab.name}") from None
    group = raw.get("cgroup")
    pids = raw.get("pids") or {}
    place = Path(group) if group else None
    return PodProcesses(raw.get("netns") or "", pids, place, bool(raw.get("ready")))


def pod_reference(pod: str) -> str:
    """Return how kubectl is told of pod/NAMESPACE/NAME."""
    _, namespace_, name = pod.split("/")
    return f"pod/{name} -n {namespace_}"


def write_commands(lab: Lab, cairn: Sequence[str], views: dict[str, str]) -> None:
    """Write the commands that stand first on the PATH of every host: `cairn`, `bgpctl`, …"""
    lab.bin.mkdir(parents=True, exist_ok=True)
    scripts = {"cairn": f'exec {" ".join(cairn)} "$@"'} | views
    for name, line in scripts.items():
        path = lab.bin / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)


def _host_files(lab: Lab, host: str) -> list[tuple[Path, Path]]:
    etc = lab.host_etc(host)
    files = [
        (etc / "hosts", Path("/etc/hosts")),
        (etc / "resolv.conf", Path("/etc/resolv.conf").resolve()),
    ]
    node = lab.node_files(host)
    if node.is_dir():
        files += [
            (lab.pins / host, Path("/sys/fs/bpf")),
            (node / "etc/cni/net.d", Path("/etc/cni/net.d")),
            (node / "run/cairn", Path("/run/cairn")),
        ]
    return files


def _become(argv: Sequence[str], environment: dict[str, str]) -> int:
    try:
        os.execvpe(argv[0], list(argv), environment)  # noqa: S606  (no shell, on purpose)
    except FileNotFoundError:
        sys.stderr.write(f"cairn lab exec: {argv[0]}: no such command there\n")
        return NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"cairn lab exec: {argv[0]}: {error.strerror}\n")
        return NOT_EXECUTABLE


def _wait(child: int) -> int:
    """Wait for the command, passing on what would end it; return its exit status."""

    def pass_on(number: int, _: object) -> None:
        os.kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGHUP, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child as well
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
