"""The way to a kubelet: logs, exec, attach and port-forward, carried without being understood.

    Proxy, request head  ->  TLS to the node  ->  the same bytes, both ways, until one side ends

Invariants  The client's credentials are not handed on; the kubelet sees the server's certificate.
            SPDY and WebSocket alike are bytes here.
"""

import asyncio
import ssl
from collections.abc import Coroutine, Iterator
from typing import Any

from cairn.api.pki import Pki
from cairn.apiserver.http import Head
from cairn.apiserver.request import Proxy
from cairn.apiserver.status import Refused

CONNECT_S = 5.0
COPY_BYTES = 64 << 10
_NOT_FOR_KUBELETS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)


class Relay:
    """Connects clients with kubelets."""

    def __init__(self, pki: Pki) -> None:
        self._context = ssl.create_default_context(cafile=str(pki.ca_cert))
        self._context.load_cert_chain(*map(str, pki.kubelet_client))

    async def carry(
        self,
        proxy: Proxy,
        head: Head,
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Refused | None:
        """Carry one request until it ends; returns the refusal if the node is out of reach."""
        where = f'node "{proxy.node}" at {proxy.address}:{proxy.port}'
        try:
            async with asyncio.timeout(CONNECT_S):
                there = await asyncio.open_connection(
                    proxy.address, proxy.port, ssl=self._context, server_hostname=proxy.address
                )
        except TimeoutError:
            text = f"{where} does not answer within {CONNECT_S:.0f} s: is its kubelet running?"
            return Refused(504, "GatewayTimeout", text)
        except OSError as error:
            text = f"{where} cannot be reached ({error}): is its kubelet running?"
            return Refused(502, "BadGateway", text)
        from_kubelet, to_kubelet = there
        try:
            to_kubelet.write(_head(proxy, head, body))
            await _first_end(_copy(from_kubelet, writer), _copy(reader, to_kubelet))
        finally:
            to_kubelet.close()
        return None


def _head(proxy: Proxy, head: Head, body: bytes) -> bytes:
    return "".join(f"{line}\r\n" for line in _lines(proxy, head, body)).encode() + b"\r\n" + body


def _lines(proxy: Proxy, head: Head, body: bytes) -> Iterator[str]:
    yield f"{head.method} {proxy.target} HTTP/1.1"
    yield f"Host: {proxy.address}:{proxy.port}"
    if head.upgrade:
        yield "Connection: Upgrade"
        yield f"Upgrade: {head.headers['upgrade']}"
    else:
        yield "Connection: close"
        yield f"Content-Length: {len(body)}"
    for name, value in head.headers.items():
        if name not in _NOT_FOR_KUBELETS:
            yield f"{name}: {value}"


async def _first_end(*copies: Coroutine[Any, Any, None]) -> None:
    """Wait until one direction ends, then end the other."""
    tasks = [asyncio.create_task(copy) for copy in copies]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(COPY_BYTES):
        sink.write(data)
        await sink.drain()
