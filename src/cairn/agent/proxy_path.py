"""The way of packets to the proxies on this node, there while any of them needs it.

    need(who), release(who)  ->  apply.proxy_path, when the first comes and the last has gone

Invariants  Who needs it has it when `need` returns, or is told what failed; it is tried anew with
            every call.
"""

import asyncio

from cairn.apply.proxy_path import prepare_proxy_path, remove_proxy_path


class ProxyPath:
    """The one way of one node."""

    def __init__(self) -> None:
        self._users: set[str] = set()
        self._turn = asyncio.Lock()

    async def need(self, who: str) -> list[str]:
        """Make the way; return what failed."""
        async with self._turn:
            self._users.add(who)
            return await asyncio.to_thread(prepare_proxy_path)

    async def release(self, who: str) -> list[str]:
        """Take the way back if nobody else needs it; return what failed."""
        async with self._turn:
            self._users.discard(who)
            return [] if self._users else await asyncio.to_thread(remove_proxy_path)
