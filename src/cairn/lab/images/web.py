"""The lab's web server: says which pod on which node answers, and who asks.

    HTTP/1.1, and HTTP/2 in clear text with prior knowledge, on $PORT (8080)  ->  text or JSON

GET / tells, as JSON if the client accepts it or asks for /json; GET /healthz is for probes;
POST /fail and POST /recover make it fail and hold; GET /slow?s=N answers after N seconds.

Invariants  After SIGTERM it goes on serving, also new connections, until nobody has asked for a
            second: whoever was sent here before the routes changed still gets an answer.
Standards   RFC 9112 (HTTP/1.1), RFC 9113 s3.3 (prior knowledge)
"""

import asyncio
import contextlib
import os
import signal
import sys
import time

from cairn.lab.images.web_answer import Answer, Site, answer
from cairn.lab.images.web_http2 import PREFACE, serve_http2

PROBED = ("/healthz", "/readyz", "/livez")
MAX_HEAD_BYTES = 65536
MAX_BODY_BYTES = 1 << 20
IDLE_S = 75.0
LEAST_DRAIN_S = 2.0
"""Peers learn within this time that this pod is ending."""
QUIET_S = 1.0
"""So long without a request means that nobody is sent here any more."""
MOST_DRAIN_S = 25.0


class BadRequest(Exception):
    """A request that is not HTTP/1.1."""


class Web:
    """The server and what it remembers."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.open_requests = 0
        self.last_request_at = 0.0
        self.draining = asyncio.Event()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            try:
                async with asyncio.timeout(IDLE_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                if head == PREFACE[: len(head)]:
                    await serve_http2(self.respond, head, reader, writer)
                else:
                    await self._http1(head, reader, writer)
            except (BadRequest, asyncio.LimitOverrunError):
                text = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                writer.write(text)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async def respond(
        self, method: str, target: str, headers: dict[str, str], peer: tuple[str, int], kind: str
    ) -> Answer:
        """Return the answer to one request of either protocol."""
        if target.startswith(PROBED):  # a kubelet asks to the very end
            return answer(self.site, method, target, headers, peer, kind)
        self.open_requests += 1
        self.last_request_at = time.monotonic()
        try:
            found = answer(self.site, method, target, headers, peer, kind)
            if found.delay_s:
                await asyncio.sleep(found.delay_s)
            return found
        finally:
            self.open_requests -= 1
            self.last_request_at = time.monotonic()

    async def _http1(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = writer.get_extra_info("peername")[:2]
        while True:
            method, target, version, headers = parse_head(head)
            body = await _skip_body(reader, headers)
            found = await self.respond(method, target, headers, peer, version)
            wanted = headers.get("connection", "").lower()
            stays = wanted == "keep-alive" or (version == "HTTP/1.1" and wanted != "close")
            stays = stays and body and not self.draining.is_set()
            writer.write(_render(found, stays=stays, with_body=method != "HEAD"))
            await writer.drain()
            if not stays:
                return
            head = await self._next_head(reader)
            if not head:
                return

    async def _next_head(self, reader: asyncio.StreamReader) -> bytes:
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(IDLE_S):
                return await reader.readuntil(b"\r\n\r\n")
        return b""

    async def drain(self) -> None:
        """Serve on until nobody asks any more."""
        begun = time.monotonic()
        self.draining.set()
        self.site.ending = True
        while (now := time.monotonic()) - begun < MOST_DRAIN_S:
            quiet = now - self.last_request_at > QUIET_S and not self.open_requests
            if quiet and now - begun > LEAST_DRAIN_S:
                return
            await asyncio.sleep(0.1)


def parse_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    """Return method, target, version and headers; raises BadRequest."""
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest
    headers = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest
        headers[name.strip().lower()] = value.strip()
    return parts[0], parts[1], parts[2], headers


async def _skip_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bool:
    """Read past the request's body; return whether the next request can be found."""
    if "transfer-encoding" in headers:
        return False
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        return False
    await reader.readexactly(int(length))
    return True


def _render(found: Answer, *, stays: bool, with_body: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {found.status} {'OK' if found.status == 200 else 'Error'}",
        f"Content-Type: {found.content_type}",
        f"Content-Length: {len(found.body)}",
        f"Connection: {'keep-alive' if stays else 'close'}",
        "Server: cairn-lab-web",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (found.body if with_body else b"")


def main() -> int:
    """Serve until SIGTERM."""
    port = os.environ.get("PORT") or "8080"
    if len(sys.argv) > 1:
        port = sys.argv[1]
    if not port.isdigit() or not 0 < int(port) < 65536:
        sys.stderr.write(f"web: port {port!r} is no port; set PORT to a number up to 65535\n")
        return 2
    try:
        asyncio.run(_serve(int(port)))
    except OSError as error:
        sys.stderr.write(f"web: port {port}: {error.strerror}\n")
        return 1
    return 0


async def _serve(port: int) -> None:
    web = Web(Site.of_environment(os.environ))
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    server = await asyncio.start_server(
        web.connection, None, port, limit=MAX_HEAD_BYTES, backlog=1024
    )
    sys.stdout.write(f"web: serving on port {port}\n")
    sys.stdout.flush()
    await told.wait()
    sys.stdout.write("web: told to end; serving on until nobody asks\n")
    sys.stdout.flush()
    await web.drain()
    server.close()


if __name__ == "__main__":
    sys.exit(main())
