"""Sockets of this node whose backend has gone: found when the load balancer releases it, and ended.

    released backends  ->  connected UDP: at once; TCP: once its pod is really gone

A pod that is deleted gracefully, one that is not ready, or one that lost its labels still has its
connections, and may have them to their end. So TCP is asked for: it is ended when no pod that runs
has the backend's address any more.

Invariants  A backend that a frontend uses again meanwhile is left alone.
            Nothing here holds up the data plane: failures are a line in the log.
Cost        one walk of `socket_reverse` for all that was released within SETTLE_S; a question to
            the API server for each backend that TCP sockets still talk to
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from cairn.apply.socket_end import Place, SocketEnder
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.resource import PODS
from cairn.libbpf import BpfError, Map
from cairn.net import Address, Protocol

SETTLE_S = 0.1
"""Backends that go within this time of each other are looked for together."""
AGAIN_S = 5.0
"""How often the pods of the others are asked for."""
ENDED = frozenset({"Succeeded", "Failed"})

log = logging.getLogger(__name__)


class DeadSockets:
    """Ends sockets that would wait in vain."""

    def __init__(self, client: Client, reverse: Map, netns: Callable[[], Iterable[str]]) -> None:
        self._client = client
        self._netns = netns
        self._fresh: set[Place] = set()
        self._waiting: set[Place] = set()
        self._changed = asyncio.Event()
        self._ender: SocketEnder | None = None
        try:
            self._ender = SocketEnder.load(reverse)
        except BpfError as error:
            log.warning("sockets to dead backends are left to their timeouts: %s", error)

    def release(self, backend: Place) -> None:
        """Take note that no frontend uses a backend any more."""
        if self._ender is not None:
            self._fresh.add(backend)
            self._changed.set()

    async def run(self, serves: Callable[[Place], bool]) -> None:
        """End sockets as backends go, until cancelled; `serves`: whether one is used again."""
        while self._ender is not None:
            await self._wait()
            fresh, self._fresh = {b for b in self._fresh if not serves(b)}, set()
            self._waiting = {b for b in self._waiting | fresh if not serves(b)}
            try:
                await asyncio.to_thread(self._end, self._ender, fresh, Protocol.UDP)
                await self._end_tcp(self._ender)
            except (BpfError, ApiError, OSError) as error:
                self._fresh |= fresh
                log.warning("sockets to dead backends not ended: %s; trying again", error)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(AGAIN_S if self._waiting or self._fresh else None):
                await self._changed.wait()
        except TimeoutError:
            return
        await asyncio.sleep(SETTLE_S)
        self._changed.clear()

    async def _end_tcp(self, ender: SocketEnder) -> None:
        """End what can be ended of those that wait; whom no socket talks to waits no longer."""
        found = await asyncio.to_thread(ender.find, self._waiting, Protocol.TCP)
        self._waiting = set(found.values())
        gone = {place for place in self._waiting if not await self._has_pod(place[0])}
        await asyncio.to_thread(self._end, ender, gone, Protocol.TCP)
        self._waiting -= gone

    def _end(self, ender: SocketEnder, backends: set[Place], protocol: Protocol) -> None:
        sockets = ender.find(backends, protocol) if backends else {}
        if not sockets:
            return
        ended = ender.end(sockets, protocol, self._netns())
        names = sorted({f"{address} port {port}" for address, port in sockets.values()})
        if ended:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            log.info("ended %d %s sockets to %s: gone", ended, protocol.name, shown)

    async def _has_pod(self, address: Address) -> bool:
        pods, _ = await self._client.list(PODS, field_selector=f"status.podIP={address}")
        return any((pod.get("status") or {}).get("phase") not in ENDED for pod in pods)
