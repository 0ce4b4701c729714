"""Faults inside of Cairn's containers: full disks, certificates that ended, clocks that are wrong.

    node or pod  ->  file systems mounted in a container, files that what starts there reads

Invariants  What is mounted is seen in that container alone; what was there before is beneath it.
"""

import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cairn.lab.breakages.host import container_pid, container_pids
from cairn.lab.fault import Active, host_of
from cairn.lab.state import Lab, LabError, WrongUsage

LOGS = "/var/log"
HISTORY = "/var/lib/cairn/flows"
AUTHORITY = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
SMALL = "64k"
ENDED = "/run/ended.crt"
SHIFT, SHIM, PRELOAD = "/etc/clock_shift", "/etc/clock_shift.so", "/etc/ld.so.preload"
SOURCE = Path(__file__).parents[1] / "clock_shift.c"


def fill_logs(lab: Lab, target: str, _: str) -> None:
    """Let the file system of a node's logs, as its agent has it, be small and full."""
    _mount_full(container_pid(lab, host_of(lab, target).name, "agent"), LOGS)


def clear_logs(lab: Lab, active: Active) -> None:
    """Let the agent have the old one again."""
    _unmount(container_pid(lab, active.target, "agent"), LOGS)


def fill_history(lab: Lab, target: str, _: str) -> None:
    """Let the file system of the relay's history be small and full."""
    _mount_full(_relay(lab, target), HISTORY)


def clear_history(lab: Lab, active: Active) -> None:
    """Have the relay start anew, with the old one; what it could not write it counts no more."""
    os.kill(_relay(lab, active.target), signal.SIGTERM)


def _relay(lab: Lab, target: str) -> int:
    """Return the process of the relay; `target`: its Deployment."""
    if target != "kube-system/hubble-relay":
        raise WrongUsage(f"{target!r}: the relay is kube-system/hubble-relay")
    for node in lab.nodes:
        try:
            return container_pid(lab, f"node-{node}", "relay")
        except LabError:
            continue
    raise LabError("no relay runs")


def end_certificate(lab: Lab, target: str, _: str) -> None:
    """Let the agent's file of the API server's authority be one that ended yesterday."""
    pid = container_pid(lab, host_of(lab, target).name, "agent")
    _write(pid, ENDED, _ended_certificate())
    _inside(pid, "mount", "--bind", ENDED, AUTHORITY)


def renew_certificate(lab: Lab, active: Active) -> None:
    """Let the agent have the right one again."""
    _unmount(container_pid(lab, active.target, "agent"), AUTHORITY)


def _ended_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=366))
        .not_valid_after(now - timedelta(days=1))
        .sign(key, hashes.SHA256())
    ).public_bytes(serialization.Encoding.PEM)


def shift_clock(lab: Lab, target: str, value: str) -> None:
    """Let what starts in Cairn's containers on a node see another time of day, by these seconds."""
    if not value.lstrip("+-").isdigit():
        raise WrongUsage(f"{value!r}: write the seconds, such as 300 or -300")
    shim = lab.run / "clock_shift.so"
    if not shim.exists():
        _compile(shim)
    for pid in container_pids(lab, host_of(lab, target).name):
        _write(pid, SHIFT, value.encode())
        _write(pid, SHIM, shim.read_bytes())
        _write(pid, PRELOAD, SHIM.encode())


def set_clock(lab: Lab, active: Active) -> None:
    """Let them see the right time again."""
    for pid in container_pids(lab, active.target):
        _inside(pid, "rm", "-f", PRELOAD)


def _compile(shim: Path) -> None:
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(shim), str(SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LabError("cc is missing; install it: apt-get install gcc") from None
    if done.returncode:
        raise LabError(f"{SOURCE} does not compile: {done.stderr.splitlines()[0]}")


def _mount_full(pid: int, folder: str) -> None:
    """Mount a small file system in the mount namespace of a process, and fill it."""
    _inside(pid, "mkdir", "-p", folder)
    _inside(pid, "mount", "-t", "tmpfs", "-o", f"size={SMALL}", "cairn-fault", folder)
    # It ends when nothing is left, which is what was wanted.
    _inside(pid, "dd", "if=/dev/zero", f"of={folder}/full", "bs=4096", fails=True)


def _unmount(pid: int, folder: str) -> None:
    _inside(pid, "umount", "--lazy", folder)


def _write(pid: int, path: str, content: bytes) -> None:
    """Write a file as a process would see it."""
    _inside(pid, "tee", path, content=content)


def _inside(pid: int, *argv: str, content: bytes = b"", fails: bool = False) -> None:
    """Run a command where a process is; `fails`: it may."""
    command = ["nsenter", "--mount", "--pid", "--target", str(pid), "--", *argv]
    done = subprocess.run(command, capture_output=True, input=content, check=False)
    if done.returncode and not fails:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise LabError(f"{' '.join(argv)} in process {pid}: {said[0]}")
