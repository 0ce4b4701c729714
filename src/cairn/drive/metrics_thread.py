"""Serves the metrics of a daemon that has no event loop of asyncio's, from a thread.

    listening port, families()  ->  GET /metrics in Prometheus' text format

Invariants  One request at a time; one that takes longer than PATIENCE_S is let go.
            `families` runs in the thread: it may only read, and what it reads is whole.
            A port that is taken is said once, and tried again.
Cost        nothing between requests; the thread waits in the kernel
Not here    Daemons with an event loop (metrics_page).
"""

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable

from cairn.drive.metrics_text import CONTENT_TYPE, Family, spell

PATIENCE_S = 5.0
RETRY_S = 30.0
MOST_BYTES = 16384
STACK_BYTES = 256 << 10


def start_metrics(
    families: Callable[[], Iterable[Family]], port: int, say: Callable[[str], None]
) -> None:
    """Serve from a thread of its own for as long as the process lives; port 0: not at all."""
    if port:
        threading.stack_size(STACK_BYTES)
        thread = threading.Thread(
            target=_serve, args=(families, port, say), name="metrics", daemon=True
        )
        thread.start()
        threading.stack_size(0)


def _serve(families: Callable[[], Iterable[Family]], port: int, say: Callable[[str], None]) -> None:
    said = False
    while True:
        try:
            listener = _listen(port)
        except OSError as error:
            if not said:
                why = os.strerror(error.errno) if error.errno else str(error)
                say(f"metrics at port {port}: {why}; trying again (or pass another --metrics PORT)")
            said = True
            time.sleep(RETRY_S)
            continue
        with listener:
            while True:
                with contextlib.suppress(OSError):
                    sock, _ = listener.accept()
                    with sock:
                        _answer(sock, families)


def _answer(sock: socket.socket, families: Callable[[], Iterable[Family]]) -> None:
    end = time.monotonic() + PATIENCE_S
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MOST_BYTES:
        sock.settimeout(max(0.01, end - time.monotonic()))
        piece = sock.recv(MOST_BYTES)
        if not piece or time.monotonic() > end:
            return
        head += piece
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method not in (b"GET", b"HEAD"):
        status, kind, body = "400 Bad Request", "text/plain", b"ask GET /metrics\n"
    elif path == b"/metrics":
        status, kind, body = "200 OK", CONTENT_TYPE, spell(families())
    else:
        status, kind, body = "404 Not Found", "text/plain", b"the metrics are at /metrics\n"
    sock.settimeout(PATIENCE_S)
    sock.sendall(
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n".encode()
        + (b"" if method == b"HEAD" else body)
    )


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return socket.create_server(("", port))
