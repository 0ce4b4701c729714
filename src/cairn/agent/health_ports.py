"""Says on each Service's healthCheckNodePort whether this node has a backend of it.

    (Service, backends here) by port  ->  HTTP 200 | 503, with kube-proxy's body

Invariants  A port that cannot be opened is told once, and tried again while a Service wants it.
Standards   Kubernetes v1.ServiceSpec.healthCheckNodePort; kube-proxy's healthcheck server;
            KEP-3458 (X-Load-Balancing-Endpoint-Weight)
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from cairn.drive.http_page import Page, serve_pages
from cairn.kube.metadata import Key

RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class LocalService:
    """A Service as its healthCheckNodePort tells of it."""

    key: Key
    """Namespace and name."""
    backends: int
    """How many addresses on this node serve it."""


class HealthPorts:
    """The open ports of one node."""

    def __init__(self, on_failure: Callable[[Key, int, str], None]) -> None:
        """`on_failure` hears why a port cannot be opened; "" once it can."""
        self._on_failure = on_failure
        self._healthy: Callable[[], bool] = bool
        self._port_of: dict[Key, int] = {}
        self._wanted: dict[int, LocalService] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._failed: dict[int, str] = {}
        self._changed = asyncio.Event()

    def set(self, key: Key, answer: tuple[int, LocalService] | None) -> None:
        """Have a Service's port open and say this, or have it closed."""
        port = answer[0] if answer else 0
        before = self._port_of.pop(key, 0)
        if before and before != port and self._wanted[before].key == key:
            del self._wanted[before]
            self._changed.set()
        if answer:
            self._port_of[key] = port
            if port not in self._wanted:
                self._changed.set()
            self._wanted[port] = answer[1]

    async def run(self, healthy: Callable[[], bool]) -> None:
        """Open and close ports until cancelled; `healthy` tells whether the node is."""
        self._healthy = healthy
        try:
            while True:
                self._changed.clear()
                await self._apply()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S if self._failed else None):
                        await self._changed.wait()
        finally:
            for server in self._servers.values():
                server.close()

    async def _apply(self) -> None:
        for port in self._servers.keys() - self._wanted.keys():
            self._servers.pop(port).close()
        for port in self._failed.keys() - self._wanted.keys():
            del self._failed[port]
        for port in self._wanted.keys() - self._servers.keys():
            await self._open(port)

    async def _open(self, port: int) -> None:
        try:
            self._servers[port] = await serve_pages(_listener(port), lambda _: self._page(port))
            if self._failed.pop(port, None):
                self._on_failure(self._wanted[port].key, port, "")
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
            if self._failed.get(port) != why:
                self._on_failure(self._wanted[port].key, port, why)
            self._failed[port] = why

    def _page(self, port: int) -> Page:
        service = self._wanted.get(port)
        if service is None:  # the port is about to be closed
            return Page(503, b"", ())
        return page_of(service, healthy=self._healthy())


def page_of(service: LocalService, *, healthy: bool) -> Page:
    """Return the answer about a Service."""
    good = healthy and service.backends > 0
    body = msgspec.json.encode(
        {
            "service": {"namespace": service.key.namespace, "name": service.key.name},
            "localEndpoints": service.backends,
            "serviceProxyHealthy": healthy,
        }
    )
    headers = (
        ("Content-Type", "application/json"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Load-Balancing-Endpoint-Weight", str(service.backends)),
    )
    return Page(200 if good else 503, body, headers)


def _listener(port: int) -> socket.socket:
    """Return a socket that listens at every address; IPv4 alone where the kernel has no IPv6."""
    try:
        return socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128
        )
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return socket.create_server(("", port), backlog=128)
