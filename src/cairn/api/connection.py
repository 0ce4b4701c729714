"""Client connections: HTTP over TLS in, the core's outcomes out.

    bytes  ->  Head, Request  ->  Server.handle  ->  answer, watch stream, or a relay to a kubelet

Invariants  A client that sends nonsense, or nothing, costs one connection for a limited time.
            Writing to a watcher never waits: one that does not read is cut off at BACKLOG_BYTES.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any

import msgspec

from cairn.api.committer import Committer
from cairn.api.relay import Relay
from cairn.api.token import read_token
from cairn.apiserver.http import (
    BODY_LIMIT_BYTES,
    Head,
    Malformed,
    read_chunk_size,
    read_head,
    write_chunk,
    write_head,
)
from cairn.apiserver.request import (
    JSON,
    Outcome,
    Proxy,
    Reply,
    User,
    Watch,
    Write,
    refusal_reply,
    request_of,
)
from cairn.apiserver.serve import Server
from cairn.apiserver.status import Refused, bad_request

IDLE_S = 300.0
BODY_S = 60.0
BOOKMARK_S = 45.0
WATCH_S = 3600.0
BACKLOG_BYTES = 32 << 20
PIECE_BYTES = 256 << 10
_log = logging.getLogger("cairn.api")


class Front:
    """Serves connections."""

    def __init__(
        self, server: Server, committer: Committer, *, token_key: bytes, relay: Relay
    ) -> None:
        self._server = server
        self._committer = committer
        self._token_key = token_key
        self._relay = relay

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError):
            return  # The client is gone, or silent: there is nobody to tell.
        except asyncio.CancelledError:
            return  # The server ends; asyncio would report the cancellation as a fault.
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; returns whether another may follow."""
        try:
            async with asyncio.timeout(IDLE_S):
                head = read_head(await reader.readuntil(b"\r\n\r\n"))
            async with asyncio.timeout(BODY_S):
                body = await _read_body(head, reader, writer)
        except asyncio.LimitOverrunError:
            refused = Refused(431, "RequestHeaderFieldsTooLarge", "the request's head is too large")
            return await _send(writer, refusal_reply(refused), last=True)
        except Malformed as error:
            return await _send(writer, refusal_reply(bad_request(str(error))), last=True)
        except Refused as refused:
            return await _send(writer, refusal_reply(refused), last=True)
        outcome = await self._outcome(head, body, writer)
        if isinstance(outcome, Watch):
            return await _stream(outcome, reader, writer) and head.keep_alive
        if isinstance(outcome, Proxy):
            refused_by = await self._relay.carry(outcome, head, body, reader, writer)
            if refused_by is None:
                return False
            outcome = refusal_reply(refused_by)
        sent_head_only = head.method == "HEAD"
        return await _send(writer, outcome, last=not head.keep_alive, bare=sent_head_only)

    async def _outcome(
        self, head: Head, body: bytes, writer: asyncio.StreamWriter
    ) -> Reply | Watch | Proxy:
        """Return what became of a request; a write is done and durable."""
        try:
            user = self._user(head, writer)
            request = request_of(head.method, head.target, head.headers, body, user)
            outcome: Outcome = self._server.handle(request)
            if isinstance(outcome, Write):
                return outcome.reply(await self._committer.submit(outcome))
            return outcome
        except Refused as refused:
            return refusal_reply(refused)
        except Exception as error:  # One request's fault must not end the connection's others.
            _log.exception("%s %s: internal error", head.method, head.target)
            text = f"internal error: {type(error).__name__}: {error}"
            return refusal_reply(Refused(500, "InternalError", text))

    def _user(self, head: Head, writer: asyncio.StreamWriter) -> User | None:
        """Return who asks, by client certificate or token; raises Refused for a bad token."""
        certificate = writer.get_extra_info("peercert")
        if certificate:
            return _certificate_user(certificate)
        scheme, _, token = head.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return read_token(self._token_key, token.strip())
        return None


def _certificate_user(certificate: dict[str, Any]) -> User | None:
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    names = [value for name, value in subject if name == "commonName"]
    groups = [value for name, value in subject if name == "organizationName"]
    return User(names[0], (*groups, "system:authenticated")) if names else None


async def _read_body(
    head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    if head.length == 0 or head.upgrade:
        return b""
    if (head.length or 0) > BODY_LIMIT_BYTES:
        raise _too_large()
    if head.expects_continue:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if head.length is not None:
        return await reader.readexactly(head.length)
    pieces: list[bytes] = []
    size = 0
    while length := read_chunk_size(await reader.readuntil(b"\r\n")):
        size += length
        if size > BODY_LIMIT_BYTES:
            raise _too_large()
        pieces.append(await reader.readexactly(length))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return b"".join(pieces)


def _too_large() -> Refused:
    return Refused(
        413,
        "RequestEntityTooLarge",
        f"Request entity too large: limit is {BODY_LIMIT_BYTES} bytes",
    )


async def _send(
    writer: asyncio.StreamWriter, reply: Reply, *, last: bool, bare: bool = False
) -> bool:
    """Send an answer; returns whether another request may follow."""
    size = sum(map(len, reply.body))
    headers = [
        ("Content-Type", reply.content_type),
        ("Content-Length", str(size)),
        ("Cache-Control", "no-cache, private"),
        ("Date", formatdate(usegmt=True)),  # RFC 9110 s6.6.1: whoever has a clock must tell it
        *reply.headers,
    ]
    if last:
        headers.append(("Connection", "close"))
    pieces: list[bytes] = [write_head(reply.code, headers)]
    if bare or reply.code == 304:
        writer.write(pieces[0])
    else:
        await _write_pieces(writer, pieces, reply.body)
    await writer.drain()
    return not last


async def _write_pieces(
    writer: asyncio.StreamWriter, pieces: list[bytes], body: Sequence[bytes]
) -> None:
    """Write a body in pieces of a bounded size, so that a long list is never copied whole."""
    size = 0
    for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            writer.write(b"".join(pieces))
            await writer.drain()
            pieces, size = [], 0
    writer.write(b"".join(pieces))


async def _stream(watch: Watch, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send changes until the client has enough; returns whether another request may follow."""
    headers = [("Content-Type", JSON), ("Transfer-Encoding", "chunked")]
    writer.write(write_head(200, [*headers, ("Cache-Control", "no-cache, private")]))
    sink = _sink(writer)
    try:
        watcher = watch.open(sink)
    except Refused as refused:
        sink(msgspec.json.encode({"type": "ERROR", "object": refused.status()}) + b"\n")
        writer.write(write_chunk(b""))
        await writer.drain()
        return True
    gone = asyncio.ensure_future(reader.read(1))
    try:
        if not await _until_end(watch, gone, sink):
            return False
        writer.write(write_chunk(b""))
        await writer.drain()
        return True
    finally:
        gone.cancel()
        watch.close(watcher)


async def _until_end(
    watch: Watch, gone: "asyncio.Future[bytes]", sink: Callable[[bytes], None]
) -> bool:
    """Wait, with bookmarks, until the time is over (True) or the client is gone (False)."""
    clock = asyncio.get_running_loop().time
    end = clock() + min(watch.timeout_s or WATCH_S, WATCH_S)
    while (left := end - clock()) > 0:
        await asyncio.wait({gone}, timeout=min(left, BOOKMARK_S))
        if gone.done():
            gone.exception()
            return False
        if watch.bookmark is not None:
            sink(watch.bookmark())
    return True


def _sink(writer: asyncio.StreamWriter) -> Callable[[bytes], None]:
    def send(line: bytes) -> None:
        if writer.transport.is_closing():
            return
        if writer.transport.get_write_buffer_size() > BACKLOG_BYTES:
            _log.warning("a watcher does not read: cut off with %d bytes waiting", BACKLOG_BYTES)
            writer.transport.abort()
            return
        writer.write(write_chunk(line))

    return send
