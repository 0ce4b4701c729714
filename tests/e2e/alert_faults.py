"""Faults of a running lab, each for as long as a block runs: what the alerts are for.

LabRun  ->  a broken lab;  leaving the block mends it
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from lab_run import NODES, PYTHON, LabRun, run

from cairn.libbpf import Map
from cairn.libbpf.link import Link

API = "https://192.168.1.5:6443"
RELAY_HOST = "client-2"
RELAY_PORT = 9976


# -- processes ------------------------------------------------------------------------------------


def processes_of(lab: LabRun, node: str, command: str) -> list[int]:
    """Return the processes of a node whose command line has these words."""
    wanted = os.stat(f"/run/netns/{lab.netns(node)}").st_ino
    found = [
        int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _is(int(pid), wanted, command)
    ]
    assert found, (node, command)
    return found


def _is(pid: int, netns: int, command: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return command in words and os.stat(f"/proc/{pid}/ns/net").st_ino == netns
    except OSError:
        return False


@contextlib.contextmanager
def hung(lab: LabRun, node: str, command: str) -> Iterator[None]:
    """Processes that stand still, as a program that hangs does."""
    pids = processes_of(lab, node, command)
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def again_and_again(what: Callable[[], object]) -> Iterator[None]:
    """Something that is done for as long as the block runs, and what it raises."""
    over = threading.Event()
    failed: list[BaseException] = []

    def go() -> None:
        while not over.is_set():
            try:
                what()
            except BaseException as error:
                failed.append(error)
                return

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not failed, failed


# -- the network ----------------------------------------------------------------------------------


def block(lab: LabRun, node: str, port: int) -> None:
    """Have a node's own connections to a TCP port reset, those that stand too."""
    script = (
        f"add table inet alert{port}; add chain inet alert{port} out "
        "{ type filter hook output priority 0; }; "
        f"add rule inet alert{port} out tcp dport {port} reject with tcp reset"
    )
    inside = ("ip", "netns", "exec", lab.netns(node))
    run(*inside, "nft", script)
    reset(lab, node, port)


def reset(lab: LabRun, node: str, port: int) -> None:
    """End a node's connections to a TCP port, or from it."""
    which = f"( dport = :{port} or sport = :{port} )"
    run(*_inside(lab, node), "ss", "-K", which, check=False)


def session_up(lab: LabRun, node: str) -> bool:
    """Return whether a node's speaker says that it has its session."""
    page = run(*_inside(lab, node), "curl", "-sS", f"http://{node_address(node)}:9967/metrics")
    return bool(re.search(r"^cairn_speaker_session_up\{.*\} 1$", page, re.MULTILINE))


def node_address(node: str) -> str:
    return NODES[int(node.rpartition("-")[2]) - 1]


def unblock(lab: LabRun, node: str, port: int) -> None:
    run(*_inside(lab, node), "nft", f"delete table inet alert{port}", check=False)


@contextlib.contextmanager
def cut_off(lab: LabRun, node: str, port: int) -> Iterator[None]:
    """A node that cannot connect to a TCP port."""
    block(lab, node, port)
    try:
        yield
    finally:
        unblock(lab, node, port)


def _inside(lab: LabRun, host: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", lab.netns(host))


# -- the data plane -------------------------------------------------------------------------------


def pins(lab: LabRun, node: str) -> Path:
    return Path(f"/sys/fs/bpf/cairn-{lab.name}/{node}/cairn")


@contextlib.contextmanager
def filled(lab: LabRun, node: str, name: str) -> Iterator[None]:
    """A map without room: entries that nothing asks for have all of it."""
    with Map.open_pinned(pins(lab, node) / name) as table:
        shape = table.shape
        count = shape.max_entries - sum(number for _, _, number in table.batches())
        keys = b"".join(
            b"\xee" * (shape.key_bytes - 4) + number.to_bytes(4, "little")
            for number in range(count)
        )
        table.update_batch(keys, bytes(shape.value_bytes * count))
        try:
            yield
        finally:
            table.delete_batch(keys)


def take_off(lab: LabRun, node: str, address: str) -> None:
    """Take the program from a pod's interface: the pod has to be made again."""
    (route,) = json.loads(run("ip", "-n", lab.netns(node), "-j", "route", "show", address))
    with Link.open_pinned(pins(lab, node) / "links" / f"pod-{route['dev']}") as link:
        link.detach()


@contextlib.contextmanager
def away_while_much_happens(lab: LabRun, node: str, source: str, target: str) -> Iterator[None]:
    """An agent that stands still while a pod opens more connections than the ring has room for."""
    script = (
        "import socket\n"
        "for port in range(10_000, 50_000):\n"
        "    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:\n"
        "        sock.bind(('', port))\n"
        f"        sock.sendto(b'x', ('{target}', 9))\n"
    )
    with hung(lab, node, "cairn agent"):
        lab.on(source, PYTHON, "-c", script)
    yield


def knock(lab: LabRun, host: str, address: str, port: int, count: int = 300) -> None:
    """Send datagrams for a port."""
    script = f"for i in $(seq {count}); do echo x > /dev/udp/{address}/{port}; done"
    lab.on(host, "bash", "-c", script)


# -- policies -------------------------------------------------------------------------------------


def policy(name: str, **spec: object) -> str:
    """Return a policy of namespace production, as JSON."""
    kind = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy"}
    return json.dumps({**kind, "metadata": {"name": name, "namespace": "production"}, "spec": spec})


DNS_ONLY = policy(
    "alert-dns",
    endpointSelector={"matchLabels": {"app": "nginx-ingress"}},
    egress=[
        {
            "toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system"}}],
            "toPorts": [
                {
                    "ports": [{"port": "53", "protocol": "UDP"}],
                    "rules": {"dns": [{"matchName": "web-app.production.svc.cluster.local"}]},
                }
            ],
        }
    ],
)
"""The ingress may ask for names of the cluster, and nothing else."""
HTTP = policy(
    "alert-http",
    endpointSelector={"matchLabels": {"tier": "web"}},
    ingress=[
        {
            "fromEntities": ["all"],
            "toPorts": [
                {
                    "ports": [{"port": "8080", "protocol": "TCP"}],
                    "rules": {"http": [{"method": "GET"}]},
                }
            ],
        }
    ],
)
"""Something for Envoy to do."""


@contextlib.contextmanager
def applied(lab: LabRun, manifest: str) -> Iterator[None]:
    lab.apply(manifest)
    try:
        yield
    finally:
        lab.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=manifest)


@contextlib.contextmanager
def killed_again_and_again(lab: LabRun, node: str, command: str) -> Iterator[None]:
    """A process that ends whenever it has been started."""

    def kill() -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            if _is(int(folder.name), wanted, command):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(folder.name), signal.SIGKILL)
        over.wait(0.1)

    over = threading.Event()
    wanted = os.stat(f"/run/netns/{lab.netns(node)}").st_ino
    with again_and_again(kill):
        yield


# -- the relay ------------------------------------------------------------------------------------

OLDER = (
    "import cairn, sys; cairn.__version__ = '0.0.9'; "
    "from cairn.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
"""Runs a command of Cairn as one of a version before."""


@contextlib.contextmanager
def forgotten_relay(lab: LabRun, folder: Path) -> Iterator[Path]:
    """A relay of another version whose certificate ends soon, and its disk, which is small."""
    disk = folder / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(disk))
    names = ("-subj", "/CN=hubble-relay", "-addext", "subjectAltName=DNS:hubble-relay")
    words = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    run(*words, "-nodes", "-days", "3", *names, *files)
    kubeconfig = folder / "kubeconfig"
    text = Path(lab.kubeconfig).read_text()
    kubeconfig.write_text(re.sub(r"https://127\.0\.0\.1:\d+", API, text))
    with (folder / "relay.log").open("w") as log:
        process = subprocess.Popen(
            [
                *_inside(lab, RELAY_HOST),
                *(PYTHON, "-c", OLDER, "relay", "--kubeconfig", str(kubeconfig)),
                *("--history", str(disk / "flows"), "--metrics", str(RELAY_PORT)),
                *("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield disk
    finally:
        process.terminate()
        process.wait(30)
        run("umount", str(disk))


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """A disk without room."""
    stuff = disk / "stuff"
    try:
        with contextlib.suppress(OSError), stuff.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
        yield
    finally:
        stuff.unlink()
