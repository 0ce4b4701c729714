"""A node with its DNS proxy, a pod behind it, a name server before it; steering by nftables.

pod --- node (cairn dns) --- server

The node's data plane is played by the kernel's own transparent proxying, so that the proxy's
sockets meet what they meet under tc; the maps are real, pinned, and without a program.
"""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from datapath_bed import batch, set_sysctl, wait_for

from cairn.abi.flow import FlowKey, PolicyFlow
from cairn.abi.policy import NameKey, NamePage
from cairn.desired.dns_policy import DnsPolicy, save_dns_policy
from cairn.dns import Message, Question, Rcode, Record, Type, parse_name
from cairn.dns.message import read_message, udp_limit, write_message
from cairn.dns.name import fold
from cairn.kube.policy.rule import DnsRule, FqdnPeer
from cairn.libbpf import Map, MapShape, MapType
from cairn.linux import namespace

POD4, POD6 = "10.244.1.5", "fd00:10:244:1::5"
SERVER4, SERVER6 = "192.0.2.53", "2001:db8:53::53"
FAMILIES = ((SERVER4, socket.AF_INET), (SERVER6, socket.AF_INET6))
PORT = 15000
MISTAKE = re.compile("Traceback|mistake at")
STEER = """
table inet steer {
  chain pre {
    type filter hook prerouting priority mangle;
    meta mark & 0xf00 != 0 accept
    iifname "srv" socket transparent 1 meta mark set 0x200 accept
    iifname "pod" socket transparent 1 meta mark set 0x200 accept
    iifname "pod" meta l4proto { tcp, udp } th dport 53 jump ask
  }
  chain ask {
    meta nfproto ipv4 meta l4proto {tcp,udp} tproxy ip to 127.0.0.1:PORT meta mark set 0x200 accept
    meta nfproto ipv6 meta l4proto {tcp,udp} tproxy ip6 to [::1]:PORT meta mark set 0x200 accept
  }
}
"""


class Server:
    """A name server in a namespace of its own: answers from a table, or as a test says."""

    def __init__(self, ns: str, serves: bool = True) -> None:
        self.records: dict[tuple[str, int], list[Record]] = {}
        self.asked: list[tuple[str, str, int]] = []
        """Who asked for what, by UDP (0) or TCP (1)."""
        self.before: Callable[[bytes, Any, socket.socket], bool] | None = None
        """Called with each datagram first; True: it has dealt with it."""
        self._socks: list[socket.socket] = []
        for address, family in FAMILIES if serves else ():
            datagrams = namespace.call_in(ns, socket.socket, family, socket.SOCK_DGRAM)
            datagrams.bind((address, 53))
            stream = namespace.call_in(ns, socket.socket, family, socket.SOCK_STREAM)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stream.bind((address, 53))
            stream.listen(64)
            self._socks += [datagrams, stream]
            threading.Thread(target=self._datagrams, args=(datagrams,), daemon=True).start()
            threading.Thread(target=self._accept, args=(stream,), daemon=True).start()

    def put(self, name: str, *addresses: str, ttl_s: int = 30) -> None:
        """Have a name resolve to addresses."""
        for text in addresses:
            address = ip_address(text)
            kind = Type.A if address.version == 4 else Type.AAAA
            record = Record(parse_name(name), kind, 1, ttl_s, address)
            self.records.setdefault((name, kind), []).append(record)

    def alias(self, name: str, target: str, ttl_s: int = 30) -> None:
        """Have a name be another's alias."""
        record = Record(parse_name(name), Type.CNAME, 1, ttl_s, parse_name(target))
        self.records[name, Type.CNAME] = [record]

    def close(self) -> None:
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def answer(self, query: Message) -> Message:
        """Return what the table says."""
        question = query.questions[0]
        name = b".".join(fold(question.name)).decode()
        found: list[Record] = []
        exists = any(known == name for known, _ in self.records)
        while alias := self.records.get((name, Type.CNAME)):
            found += alias
            assert isinstance(alias[0].data, tuple)
            name = b".".join(alias[0].data).decode()
        found += self.records.get((name, question.type), [])
        return Message(
            id=query.id, response=True, recursion_desired=True, recursion_available=True,
            rcode=Rcode.NOERROR if exists else Rcode.NXDOMAIN,
            questions=(Question(question.name, question.type),),
            answers=tuple(found),
        )  # fmt: skip

    def _datagrams(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                octets, peer = sock.recvfrom(65535)
                if peer is None:
                    return
                if self.before is not None and self.before(octets, peer, sock):
                    continue
                query = read_message(octets)
                self._note(query, peer[0], 0)
                reply = write_message(self.answer(query), limit=udp_limit(query, 1232))
                sock.sendto(reply, peer)

    def _note(self, query: Message, peer: str, way: int) -> None:
        self.asked.append((peer, b".".join(query.questions[0].name).decode(), way))

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, peer = listener.accept()
                threading.Thread(target=self._talk, args=(conn, peer[0]), daemon=True).start()

    def _talk(self, conn: socket.socket, peer: str) -> None:
        with conn, contextlib.suppress(OSError), conn.makefile("rwb") as stream:
            while head := stream.read(2):
                query = read_message(stream.read(int.from_bytes(head, "big")))
                self._note(query, peer, 1)
                reply = write_message(self.answer(query))
                stream.write(len(reply).to_bytes(2, "big") + reply)
                stream.flush()


@dataclass
class DnsBed:
    """The whole."""

    node: str
    pod: str
    outside: str
    run: Path
    pins: Path
    server: Server
    options: Sequence[str] = ()
    maps: dict[str, Map] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self) -> None:
        """Start the proxy."""
        argv = ["nsenter", f"--net=/run/netns/{self.node}", sys.executable, "-m", "cairn", "dns"]
        argv += [f"--run={self.run}", f"--bpf={self.pins}", *self.options]
        log = os.open(self.run / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.process = subprocess.Popen(argv, stderr=log)
        os.close(log)
        wait_for(self.is_up, "the proxy's socket")
        self.started = time.monotonic()

    def is_up(self) -> bool:
        with contextlib.suppress(OSError):
            self.tell({"get": "counters"})
            return True
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        return False

    def age_s(self) -> float:
        """Return how long the process has run."""
        return time.monotonic() - self.started

    def processor_s(self) -> float:
        """Return how much processor time it took to start."""
        assert self.process is not None
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def child(self) -> int:
        """The process that serves; `process` is its keeper."""
        assert self.process is not None
        pid = self.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def kill_child(self) -> None:
        """End the process that serves, and leave its keeper."""
        os.kill(self.child, signal.SIGKILL)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the proxy."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait()

    def log(self) -> str:
        """Return what the proxy said."""
        return (self.run / "log").read_text()

    def tell(self, request: Mapping[str, Any] | bytes) -> dict[str, Any]:
        """Send one line to the proxy and return its answer."""
        line = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.run / "dns.sock"))
            sock.sendall(line)
            with sock.makefile("rb") as stream:
                found: dict[str, Any] = json.loads(stream.readline())
                return found

    def policy(self, rules: Sequence[str], selectors: Mapping[str, int]) -> dict[str, Any]:
        """Give the proxy a state: names or patterns that may be asked, selectors."""
        listeners = {PORT: tuple(DnsRule(*spelled(rule)) for rule in rules)}
        peers = {FqdnPeer(*spelled(text)): number for text, number in selectors.items()}
        return self.tell(save_dns_policy(DnsPolicy(listeners, peers)))

    def counters(self) -> dict[str, int]:
        found: dict[str, int] = self.tell({"get": "counters"})["counters"]
        return found

    def selectors(self, address: str) -> list[int]:
        """Return the selectors that the data plane has for an address."""
        found: list[int] = []
        for page in range(4):
            value = self.maps["policy_names"].lookup(NameKey(ip_address(address), page).write())
            if value is None:
                break
            octets = NamePage.read(value).selectors
            numbers = [int.from_bytes(octets[at : at + 4], "little") for at in range(0, 32, 4)]
            found += [number for number in numbers if number]
        return found

    def run_in_pod(self, *argv: str, timeout_s: float = 20) -> "subprocess.CompletedProcess[str]":
        """Run a command with the pod's network."""
        return subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.pod}", *argv],
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def dig(self, name: str, *words: str, server: str = SERVER4) -> str:
        """Return what dig prints in the pod."""
        return self.run_in_pod("dig", f"@{server}", "+tries=1", "+time=6", name, *words).stdout

    def resolve(self, name: str, conf: str, *, kind: str = "ahostsv4") -> list[str]:
        """Return the addresses that the C library finds in the pod, with this resolv.conf."""
        path = self.run / "resolv.conf"
        path.write_text(conf)
        mounted = f"mount --bind {path} /etc/resolv.conf && exec getent {kind} {name}"
        done = self.run_in_pod("unshare", "-m", "sh", "-c", mounted, timeout_s=40)
        return list(dict.fromkeys(line.split()[0] for line in done.stdout.splitlines()))

    def node_listener(self, port: int) -> socket.socket:
        """Return a listener of another process of the node."""
        return namespace.call_in(self.node, socket.create_server, ("127.0.0.1", port))

    def pod_socket(self, family: int = socket.AF_INET) -> socket.socket:
        """Return a UDP socket of the pod."""
        sock = namespace.call_in(self.pod, socket.socket, family, socket.SOCK_DGRAM)
        sock.settimeout(8)
        return sock


def spelled(text: str) -> tuple[str, str]:
    """Return a rule's name and pattern."""
    return ("", text) if "*" in text else (text, "")


@contextlib.contextmanager
def dns_bed(
    run: Path, *options: str, serves: bool = True, steer: "Callable[[DnsBed], None] | None" = None
) -> Iterator[DnsBed]:
    """Build a bed with the proxy running, and take it down.

    `serves`: with the name server. `steer`: makes the maps and brings queries to the proxy.
    """
    prefix = f"ct-{secrets.token_hex(3)}"
    names = [f"{prefix}-{part}" for part in ("node", "pod", "srv")]
    pins = Path("/sys/fs/bpf") / prefix
    made: list[str] = []
    run.mkdir(parents=True, exist_ok=True)
    try:
        for name in names:
            namespace.create(name)
            made.append(name)
        _wire(*names)
        pins.mkdir()
        node, pod, outside = names
        bed = DnsBed(node, pod, outside, run, pins, Server(outside, serves), options)
        try:
            (steer or steer_by_nft)(bed)
            bed.start()
            yield bed
            wrong = [line for line in bed.log().splitlines() if MISTAKE.search(line)]
            assert wrong == []
        finally:
            if bed.process is not None and bed.process.poll() is None:
                bed.kill(signal.SIGTERM)
            bed.server.close()
            bed.stack.close()
            for held in bed.maps.values():
                held.close()
    finally:
        for path in pins.iterdir() if pins.is_dir() else ():
            path.unlink()
        if pins.is_dir():
            pins.rmdir()
        for name in made:
            namespace.delete(name)


def pinned_maps(pins: Path, names: int = 4096) -> dict[str, Map]:
    """Make and pin the maps that the proxy writes and reads."""
    shapes = {
        "policy_names": MapShape(MapType.HASH, NameKey.SIZE, NamePage.SIZE, names, 0),
        "policy_flows": MapShape(MapType.LRU_HASH, FlowKey.SIZE, PolicyFlow.SIZE, 4096, 0),
    }
    found = {}
    for name, shape in shapes.items():
        found[name] = Map.create(shape, name)
        found[name].pin(pins / name)
    return found


def _wire(node: str, pod: str, outside: str) -> None:
    for name in (node, pod, outside):
        set_sysctl(name, ("ipv6/conf/default/accept_dad", "0"))
    batch(
        node,
        f"link add pod type veth peer name eth0 netns {pod}",
        f"link add srv type veth peer name eth0 netns {outside}",
        "link set lo up",
        "link set pod up",
        "link set srv up",
        "address add 169.254.1.1/32 dev pod",
        "address add fd00:1::1/128 dev pod nodad",
        "address add 192.0.2.1/24 dev srv",
        "address add 2001:db8:53::1/64 dev srv nodad",
        f"route add {POD4}/32 dev pod",
        f"route add {POD6}/128 dev pod",
        "rule add fwmark 0x200/0xf00 lookup 2005",
        "route add local default dev lo table 2005",
        "route add local ::/0 dev lo table 2005",
    )
    batch(
        pod,
        "link set lo up",
        f"address add {POD4}/32 dev eth0",
        f"address add {POD6}/128 dev eth0 nodad",
        "link set eth0 up",
        "route add 169.254.1.1 dev eth0",
        "route add default via 169.254.1.1",
        "route add fd00:1::1 dev eth0",
        "route add ::/0 via fd00:1::1",
    )
    batch(
        outside,
        "link set lo up",
        f"address add {SERVER4}/24 dev eth0",
        f"address add {SERVER6}/64 dev eth0 nodad",
        "link set eth0 up",
        "route add default via 192.0.2.1",
        "route add ::/0 via 2001:db8:53::1",
    )
    set_sysctl(
        node, ("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1"),
        ("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/default/rp_filter", "0"),
    )  # fmt: skip
    rule = "rule add fwmark 0x200/0xf00 lookup 2005"
    subprocess.run(["ip", "-6", "-n", node, *rule.split()], check=True)


def steer_by_nft(bed: DnsBed) -> None:
    """Give the pod's queries to the proxy as the kernel's own transparent proxying does."""
    bed.maps = pinned_maps(bed.pins)
    subprocess.run(
        ["nsenter", f"--net=/run/netns/{bed.node}", "nft", "-f", "-"],
        input=STEER.replace("PORT", str(PORT)), text=True, check=True,
    )  # fmt: skip


def until(condition: Callable[[], bool], what: str, deadline_s: float = 15.0) -> float:
    """Wait for a condition; return how long it took."""
    start = time.monotonic()
    wait_for(condition, what, deadline_s)
    return time.monotonic() - start
