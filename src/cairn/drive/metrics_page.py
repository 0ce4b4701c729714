"""Serves a daemon's metrics in its event loop.

    listening port, families()  ->  GET /metrics in Prometheus' text format

Invariants  A port that is taken costs a line in the log, never the daemon; it is tried again.
            Without addresses it listens at every one, of both families where the kernel has both.
Not here    The text (metrics_text); daemons without an event loop (metrics_thread).
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence

from cairn.apiserver.http import Head
from cairn.drive.http_page import Page, serve_pages
from cairn.drive.metrics_text import CONTENT_TYPE, Family, spell
from cairn.net import Address

RETRY_S = 30.0
BACKLOG = 32

log = logging.getLogger(__name__)


async def serve_metrics(
    families: Callable[[], Iterable[Family]], port: int, addresses: Sequence[Address] = ()
) -> None:
    """Serve until cancelled; with port 0, not at all."""
    if not port:
        return

    def answer(head: Head) -> Page:
        if head.target.partition("?")[0] != "/metrics":
            return Page(404, b"the metrics are at /metrics\n", (("Content-Type", "text/plain"),))
        return Page(200, spell(families()), (("Content-Type", CONTENT_TYPE),))

    async with asyncio.TaskGroup() as tasks:
        for address in addresses or (None,):
            tasks.create_task(_keep(address, port, answer))


async def _keep(address: Address | None, port: int, answer: Callable[[Head], Page]) -> None:
    said = False
    while True:
        try:
            server = await serve_pages(listen_at(address, port), answer)
        except OSError as error:
            if not said:
                log.error("%s", cannot_listen(address, port, error))
            said = True
            await asyncio.sleep(RETRY_S)
        else:
            async with server:
                await server.serve_forever()


def cannot_listen(address: Address | None, port: int, error: OSError) -> str:
    """Return in one line why there are no metrics, and what to do."""
    why = os.strerror(error.errno) if error.errno else str(error)
    where = f"at {address} port {port}" if address else f"at port {port}"
    return f"metrics {where}: {why}; trying again (or pass another --metrics PORT)"


def listen_at(address: Address | None, port: int) -> socket.socket:
    """Return a socket that listens at an address, or at all; raises OSError."""
    if address is not None:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        return socket.create_server((str(address), port), family=family, backlog=BACKLOG)
    try:
        return socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
        )
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return socket.create_server(("", port), backlog=BACKLOG)
