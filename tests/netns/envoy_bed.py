"""One node with its real Envoy, two pods and a host outside, and the agent's side of it.

a --- node(Envoy) --- b
        |
      world, which knows the way to b alone: a has the node's address there

Connections are given to Envoy by nftables' tproxy, which does with sockets and marks what the data
plane's programs do; those have tests of their own.
"""

import asyncio
import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapath_bed import batch, set_sysctl, wait_for

from cairn.agent.envoy import Envoy
from cairn.desired.policy import Redirect
from cairn.desired.proxy import ACCESS_LOG
from cairn.kube.policy.rule import RuleRef
from cairn.linux import namespace
from cairn.observe.access_log import Line, read_lines

A = ("10.244.1.1", "fd00:10:244:1::1")
B = ("10.244.1.2", "fd00:10:244:1::2")
WORLD = ("192.0.2.2", "2001:db8::2")
NODE = ("192.0.2.1", "2001:db8::1")
EGRESS, INGRESS = 15001, 15002
"""Listeners to which the node steers what `a` opens to port 8080, and what `b` is reached at by
port 8080 from elsewhere."""


OWN = "meta l4proto tcp socket transparent 1 meta mark set 0x200 accept"


def steering(rules: Collection[str]) -> str:
    """Return what stands for the data plane's programs."""
    return "\n".join(
        [
            "table inet steer {}",
            "delete table inet steer",
            "table inet steer {",
            "  chain pre { type filter hook prerouting priority mangle;",
            f'    iifname != "eth1" {OWN}',
            *(f"    {rule}" for rule in rules),
            "  }",
            "  chain post { type nat hook postrouting priority srcnat;",
            '    oifname "eth1" masquerade',
            "  }",
            "}",
        ]
    )


def tproxy(match: str, port: int) -> list[str]:
    """Return rules that give TCP connections to a listener, or nobody where there is none."""
    return [
        f"meta nfproto ipv4 {match} tproxy ip to 127.0.0.1:{port} meta mark set 0x200 accept",
        f"meta nfproto ipv6 {match} tproxy ip6 to [::1]:{port} meta mark set 0x200 accept",
        f"{match} drop",
    ]


@dataclass
class AgentSide:
    """The agent's Envoy object, on a loop inside the node's namespace."""

    directory: Path
    ns: str
    told: list[tuple[str, str]] = field(default_factory=list)
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(
            target=namespace.call_in, args=(self.ns, self.loop.run_forever), daemon=True
        )
        self.thread.start()
        self.envoy = Envoy(
            self.directory,
            "node-1",
            tell=lambda reason, message, _: self.told.append((reason, message)),
            read_secret=self._read,
        )

    async def _read(self, name: tuple[str, str]) -> str | None:
        return self.secrets.get(name)

    def call(self, job: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(job, self.loop).result(30)

    def serve(
        self,
        redirects: Mapping[int, Redirect],
        leaving: Mapping[int, Redirect] | None = None,
        owners: Mapping[int, Collection[RuleRef]] | None = None,
    ) -> None:
        self.call(self.envoy.serve(redirects, leaving=leaving, owners=owners))

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


@dataclass
class ProxyBed:
    """The whole."""

    prefix: str
    directory: Path
    children: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def node(self) -> str:
        return f"{self.prefix}-node"

    def ns(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def start(self, where: str, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
        """Start a process of the bed in a namespace."""
        child = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.ns(where)}", *command],
            env={**os.environ, **environment},
        )
        self.children.append(child)
        return child

    def start_proxy(self) -> "subprocess.Popen[bytes]":
        return self.start(
            "node", sys.executable, "-m", "cairn", "proxy", f"--directory={self.directory}"
        )

    def steer(self, *rules: str) -> None:
        """Replace what stands for the data plane."""
        subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.node}", "nft", "-f", "-"],
            input=steering(rules),
            text=True,
            check=True,
        )

    def envoy_pid(self) -> int:
        """Return the process of Envoy, once there is one."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [pid for pid in _pids_in(self.node) if _name(pid) == "envoy"]
            return bool(found)

        wait_for(look, "a process of Envoy")
        return found[0]

    def curl(self, where: str, url: str, *options: str) -> str:
        """Return what curl prints: status line, headers, body, or what is wrong."""
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.ns(where)}", "curl", "-sS", "-i", "-m", "5",
             "--path-as-is", *options, url],
            capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout or done.stderr

    def log_lines(self) -> tuple[Line, ...]:
        """Return the access log as it is."""
        with contextlib.suppress(FileNotFoundError):
            read = read_lines((self.directory / ACCESS_LOG).read_bytes().splitlines())
            assert read.bad == 0
            return read.lines
        return ()

    def close(self) -> None:
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
        for child in self.children:
            child.wait(15)


def _pids_in(ns: str) -> list[int]:
    inode = namespace.inode(ns)
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and (entry / "ns/net").stat().st_ino == inode:
                found.append(int(entry.name))
    return found


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def wire(bed: ProxyBed, name: str, device: str, addresses: tuple[str, str]) -> None:
    """Connect a pod to the node."""
    v4, v6 = addresses
    batch(
        bed.node,
        f"link add {device} type veth peer name eth0 netns {bed.ns(name)}",
        f"link set {device} up",
        f"addr add 169.254.1.1/32 dev {device}",
        f"addr add fe80::1/64 dev {device} nodad",
    )
    batch(
        bed.ns(name),
        "link set eth0 up",
        f"addr add {v4}/32 dev eth0",
        f"addr add {v6}/128 dev eth0 nodad",
        "route add 169.254.1.1 dev eth0",
        "route add default via 169.254.1.1",
        "route add ::/0 via fe80::1 dev eth0",
    )
    batch(bed.node, f"route add {v4}/32 dev {device}", f"route add {v6}/128 dev {device}")
    set_sysctl(bed.node, (f"ipv4/conf/{device}/rp_filter", "0"))


@contextlib.contextmanager
def proxy_bed(directory: Path) -> Iterator[ProxyBed]:
    """Make the bed; everything is gone afterwards."""
    bed = ProxyBed(f"ct-{os.getpid()}-{secrets.token_hex(2)}", directory)
    try:
        for name in ("node", "a", "b", "world"):
            namespace.create(bed.ns(name))
            batch(bed.ns(name), "link set lo up")
        set_sysctl(
            bed.node,
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv6/conf/all/forwarding", "1"),
        )
        wire(bed, "a", "va", A)
        wire(bed, "b", "vb", B)
        batch(
            bed.node,
            f"link add eth1 type veth peer name eth0 netns {bed.ns('world')}",
            "link set eth1 up",
            f"addr add {NODE[0]}/24 dev eth1",
            f"addr add {NODE[1]}/64 dev eth1 nodad",
        )
        batch(
            bed.ns("world"),
            "link set eth0 up",
            f"addr add {WORLD[0]}/24 dev eth0",
            f"addr add {WORLD[1]}/64 dev eth0 nodad",
            f"route add {B[0]}/32 via {NODE[0]}",
            f"route add {B[1]}/128 via {NODE[1]}",
        )
        yield bed
    finally:
        bed.close()
        for name in namespace.names(bed.prefix):
            namespace.delete(name)


def answer_of(text: str) -> tuple[int, dict[str, Any]]:
    """Return status and the lab's web server's JSON of what curl printed."""
    head, _, body = text.partition("\n\n")
    status = int(head.split()[1]) if head.startswith("HTTP/") else 0
    with contextlib.suppress(ValueError):
        return status, json.loads(body)
    return status, {"text": body}


def accepts(ns: str, address: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    try:
        namespace.call_in(ns, socket.create_connection, (address, port), 1).close()
    except OSError:
        return False
    return True


class Client:
    """A connection that is kept open and asked over again and again, from a thread of its own."""

    def __init__(self, ns: str, address: str, path: str, *, pause_s: float = 0.02) -> None:
        self._connection = http.client.HTTPConnection(address, 8080, timeout=5)
        namespace.call_in(ns, self._connection.connect)
        self._path = path
        self._pause_s = pause_s
        self._stop = threading.Event()
        self.answers: list[int] = []
        self.error: str = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause_s):
                self._connection.request("GET", self._path)
                answer = self._connection.getresponse()
                answer.read()
                self.answers.append(answer.status)
                if answer.will_close:
                    self.error = "the server closes"
                    return
        except (OSError, http.client.HTTPException) as error:
            self.error = repr(error)

    def wait_for_answers(self, more: int) -> list[int]:
        """Return the next answers that come."""
        before = len(self.answers)
        wait_for(lambda: len(self.answers) >= before + more or self.ended(), "answers of a client")
        return self.answers[before:]

    def ended(self) -> bool:
        return bool(self.error)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._connection.close()


@contextlib.contextmanager
def clients(ns: str, address: str, path: str, number: int = 4) -> Iterator[list[Client]]:
    """Have some connections ask 200 times a second together."""
    made = [Client(ns, address, path, pause_s=number / 200) for _ in range(number)]
    try:
        yield made
    finally:
        for client in made:
            client.stop()
