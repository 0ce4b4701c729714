"""The agent's end of the DNS proxy's socket: says what it should do, asks what it knows.

    redirects by port, selectors  ->  DnsPolicy, one JSON line  ->  cairn dns  ->  "applied"

Invariants  The way of packets to it is made before it is needed, and stays.
            `serve` returns when the proxy listens at every port, so that who is steered there next
            is heard. The proxy keeps what it was told: its restart needs nothing of us, and what it
            could not be told `run` tells it once it is there.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cairn.agent.proxy_path import ProxyPath
from cairn.desired.dns_policy import DnsPolicy, save_dns_policy
from cairn.desired.policy import Redirect
from cairn.kube.policy.rule import FqdnPeer

ANSWER_S = 5.0
AGAIN_S = 0.2
LINE_LIMIT_BYTES = 64 << 20

log = logging.getLogger("dns")


class DnsProxyGone(OSError):
    """The proxy does not answer; queries that are steered to it are dropped meanwhile."""


class DnsProxyRefused(ValueError):
    """The proxy does not do as it was told; the text says why."""


class DnsLink:
    """Talks to one node's DNS proxy."""

    def __init__(self, socket: Path, path: ProxyPath | None = None) -> None:
        """`path`: of packets to the proxies, shared with the node's other proxies."""
        self._socket = socket
        self._path = path
        self._wanted = DnsPolicy()
        self._told: DnsPolicy | None = None
        self._pending = asyncio.Event()

    async def serve(
        self, redirects: Mapping[int, Redirect], selectors: Mapping[FqdnPeer, int]
    ) -> None:
        """Have the proxy listen for each redirect that has rules for DNS, by port.

        Raises DnsProxyGone if it does not answer (`run` tells it later), DnsProxyRefused if it
        cannot do it.
        """
        listeners = {
            port: redirect.dns for port, redirect in redirects.items() if redirect.dns is not None
        }
        if listeners and self._path is not None:
            for sentence in await self._path.need("names"):
                log.error("%s", sentence)
        self._wanted = DnsPolicy(listeners, dict(selectors))
        if self._wanted == DnsPolicy() and self._told is None:
            self._pending.set()  # nobody waits for it
        elif self._wanted != self._told:
            await self._tell()

    async def run(self) -> None:
        """Tell the proxy what it could not be told, until cancelled."""
        while True:
            await self._pending.wait()
            try:
                await self._tell()
                log.info("DNS proxy at %s knows what it should do", self._socket)
            except DnsProxyGone:
                await asyncio.sleep(AGAIN_S)
            except DnsProxyRefused as error:
                log.error("DNS proxy: %s", error)

    async def get(self, what: str) -> dict[str, Any]:
        """Return what the proxy says of its `names`, `counters` or `metrics`."""
        return await self._converse(json.dumps({"get": what}).encode() + b"\n")

    async def _tell(self) -> None:
        wanted = self._wanted
        try:
            answer = await self._converse(save_dns_policy(wanted))
        except DnsProxyGone as error:
            if not self._pending.is_set():
                log.warning("%s; it is told what to do once it is there", error)
            self._told = None
            self._pending.set()
            raise
        if wanted is self._wanted:
            self._pending.clear()
        if answer.get("event") != "applied":
            self._told = None
            raise DnsProxyRefused(str(answer.get("error", answer)))
        self._told = wanted

    async def _converse(self, line: bytes) -> dict[str, Any]:
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(
                    self._socket, limit=LINE_LIMIT_BYTES
                )
                try:
                    writer.write(line)
                    await writer.drain()
                    answer = json.loads(await reader.readline())
                finally:
                    writer.close()
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            reason = str(error) or "no answer in time"
            raise DnsProxyGone(f"DNS proxy at {self._socket}: {reason}") from error
        if not isinstance(answer, dict):
            raise DnsProxyGone(f"DNS proxy at {self._socket}: not an answer: {answer!r}")
        return answer
