"""One check of one backend, carried out.

    backend's address, Check, Begin  ->  Result

A connect is half open: the last step of the handshake is held back and the connection reset, so
that the backend's kernel has answered and its process notices nothing.

Invariants  What is the node's own fault (no descriptors left, a stalled loop) says nothing about a
            backend.
            A socket does not outlive its check by more than the time allowed for the answer.
Standards   tcp(7): TCP_QUICKACK, SO_LINGER; RFC 9112 s4 (status line)
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import struct

from cairn.health.backend import Begin
from cairn.health.check import Check, HttpRequest, Result
from cairn.net import Address, L4Address

LATE_S = 0.25
"""A timer that rings so late shows a loop that stood still: the answer may lie unread."""
MAX_LINE_BYTES = 4096
_RESET = struct.pack("ii", 1, 0)
_OWN_FAULT = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.EADDRNOTAVAIL,
        errno.EPERM,
        errno.EACCES,
    }
)

log = logging.getLogger("health")


def try_connect(where: L4Address, begin: Begin) -> Result | socket.socket:
    """Return what a connect came to, or the socket if that is not known yet.

    A pod on the same machine mostly answers before the system call is over: then neither a task nor
    a look at the selector is needed.
    """
    try:
        made = _socket(where.address)
    except OSError as error:
        return _failed(where, begin, error)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    place = (str(where.address), where.port)
    code = made.connect_ex(place)
    if code == errno.EINPROGRESS:
        code = made.connect_ex(place)
    if code == errno.EALREADY:
        return made
    made.close()
    if code in (0, errno.EISCONN):
        return Result(begin.began, True, begin.whole)
    return _failed(where, begin, OSError(code, os.strerror(code)))


async def check_backend(
    where: L4Address, check: Check, begin: Begin, pending: socket.socket | None = None
) -> Result:
    """Return what the check came to, at the latest after its timeout.

    `pending` is the socket of a connect that was begun; it is closed.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(check.timeout_s):
            if pending is not None:
                await loop.sock_connect(pending, (str(where.address), where.port))
                wrong = ""
            elif check.http is not None:
                wrong = await _ask(where, check.http)
            else:
                found = try_connect(where, begin)
                if isinstance(found, Result):
                    return found
                return await check_backend(where, check, begin, found)
    except TimeoutError:
        if loop.time() - started > check.timeout_s + LATE_S:
            return _no_news(begin)
        wrong = f"no answer within {check.timeout_s:g} s"
    except OSError as error:
        return _failed(where, begin, error)
    finally:
        if pending is not None:
            pending.close()
    return Result(begin.began, not wrong, begin.whole, wrong)


def _failed(where: L4Address, begin: Begin, error: OSError) -> Result:
    if error.errno == errno.ECONNREFUSED:
        return Result(begin.began, False, begin.whole, "connection refused", refused=True)
    if error.errno in _OWN_FAULT:
        log.warning("%s could not be checked: %s", where, error.strerror)
        return _no_news(begin)
    return Result(begin.began, False, begin.whole, _spell(error))


def _no_news(begin: Begin) -> Result:
    return Result(begin.began, True, False)


def _spell(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _socket(address: Address) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return made


class _StatusLine(asyncio.Protocol):
    """Sends a request and keeps the first line of the answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._head = b""
        self.line: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """The line, or what of one there was when the connection ended."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read the line and past the rest."""
        if not self.line.done():
            self._head += data[:MAX_LINE_BYTES]
            if b"\n" in self._head or len(self._head) >= MAX_LINE_BYTES:
                self.line.set_result(self._head.split(b"\n")[0])

    def connection_lost(self, exc: Exception | None) -> None:
        """End with what there is."""
        if not self.line.done():
            self.line.set_result(self._head)


async def _ask(where: L4Address, request: HttpRequest) -> str:
    """Return what is wrong with the answer to a request; "" if nothing is."""
    loop = asyncio.get_running_loop()
    made = _socket(where.address)
    try:
        await loop.sock_connect(made, (str(where.address), where.port))
    except BaseException:
        made.close()
        raise
    transport, protocol = await loop.create_connection(
        lambda: _StatusLine(_spell_request(where, request)),
        sock=made,
        ssl=_TLS if request.secure else None,
        server_hostname=request.host if request.secure else None,
    )
    try:
        line = (await protocol.line).decode("latin-1").split()
    finally:
        transport.abort()
    if len(line) < 2 or not line[0].startswith("HTTP/"):
        return "the answer is not HTTP" if line else "closed without an answer"
    good = len(line[1]) == 3 and line[1][0] in "23" and line[1].isdigit()
    return "" if good else f"HTTP status {line[1][:16]}"


def _spell_request(where: L4Address, request: HttpRequest) -> bytes:
    host = f"[{where.address}]" if where.address.version == 6 else str(where.address)
    headers = {"Host": f"{request.host or host}:{where.port}", "User-Agent": "cairn-health/1"}
    headers |= {"Accept": "*/*", **dict(request.headers), "Connection": "close"}
    lines = [f"GET {request.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    clean = (line.replace("\r", "").replace("\n", "") for line in lines)
    return ("\r\n".join(clean) + "\r\n\r\n").encode("utf-8", "replace")


def _tls() -> ssl.SSLContext:
    # Kubelets do not verify a probed server's certificate either: it is asked by address.
    context = ssl.create_default_context()
    with contextlib.suppress(ValueError):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_TLS = _tls()
