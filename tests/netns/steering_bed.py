"""A transparent proxy in a node's namespace, as plain as can be: it passes on what it accepts.

TransparentProxy(ns, port, mark)  ->  accepts at loopback what tc gives it; its own connections
                                      carry the client's address and the mark
"""

import contextlib
import socket
import struct
import subprocess
import threading

from cairn.linux import namespace

IP_TRANSPARENT, IPV6_TRANSPARENT, IP_RECVORIGDSTADDR = 19, 75, 20
EGRESS, INGRESS = 0x300, 0x400
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def deliver_marked(ns: str) -> None:
    """Have the node's routes deliver what is marked for a proxy, as the agent does."""
    for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        for words in (
            "rule add fwmark 0x200/0xf00 lookup 2005",
            f"route add local {everything} dev lo table 2005",
        ):
            subprocess.run(["ip", "-n", ns, family, *words.split()], check=True)


def transparent(ns: str, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    """Return a socket that may use addresses which are not the node's."""
    made = namespace.call_in(ns, socket.socket, family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET:
        made.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    else:
        made.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    return made


class TransparentProxy:
    """Listens, accepts, connects on, and counts."""

    def __init__(
        self, ns: str, port: int, mark: int, family: socket.AddressFamily = socket.AF_INET
    ) -> None:
        self.accepted: list[tuple[str, str]] = []
        """Client and destination of each connection."""
        self._ns, self._mark, self._family = ns, mark, family
        self._listener = transparent(ns, family, socket.SOCK_STREAM)
        self._listener.bind((_LOOPBACK[family], port))
        self._listener.listen(64)
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, peer = self._listener.accept()
                self._open.append(conn)
                asked = conn.getsockname()
                self.accepted.append((peer[0], asked[0]))
                threading.Thread(target=self._serve, args=(conn, peer, asked), daemon=True).start()

    def _serve(self, conn: socket.socket, peer: tuple[str, int], asked: tuple[str, int]) -> None:
        onward = transparent(self._ns, self._family, socket.SOCK_STREAM)
        self._open.append(onward)
        onward.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
        onward.settimeout(5)
        try:
            onward.bind((peer[0], 0))
            onward.connect(asked[:2])
            onward.settimeout(None)
        except OSError:
            conn.close()
            return
        threading.Thread(target=_pump, args=(conn, onward), daemon=True).start()
        _pump(onward, conn)

    def close(self) -> None:
        """Be gone, with every connection."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class DatagramProxy:
    """Answers datagrams itself, from the address that was asked: as a DNS proxy does."""

    def __init__(self, ns: str, port: int) -> None:
        self._ns = ns
        self._socket = transparent(ns, socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_IP, IP_RECVORIGDSTADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, notes, _, peer = self._socket.recvmsg(4096, 256)
                if not notes:  # shut down
                    return
                port, host = struct.unpack_from("!2xH4s", notes[0][2])
                with transparent(self._ns, socket.AF_INET, socket.SOCK_DGRAM) as out:
                    out.bind((socket.inet_ntoa(host), port))
                    out.sendto(b"proxy " + data, peer)

    def close(self) -> None:
        """Be gone."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
