"""Which other nodes BFD knows to be dead, as this node's speaker tells it.

    bfd lines of the speaker's socket  ->  is_dead(address), on_change()

Only a session that was Up proves anything by its end. A neighbour that left on purpose (AdminDown:
its speaker was stopped politely) is judged by its readiness, as is one that was never heard.

Invariants  A speaker that is away changes nothing: what was dead stays dead until it is heard, or
            until its Node has become Ready again (`forget`).
Standards   RFC 5882 s4.2 (AdminDown is no failure)
Not here    The sessions (cairn.bfd, cairn.speaker), whom to watch (compile.l2).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cairn.net import Address, parse_address

RECONNECT_S = 0.5
LINE_LIMIT_BYTES = 64 << 20
UP, ADMIN_DOWN = "up", "admin-down"

log = logging.getLogger("l2")


class BfdWatch:
    """Follows the BFD sessions of one node's speaker."""

    def __init__(self, socket: Path, on_change: Callable[[], None]) -> None:
        self.told = asyncio.Event()
        """Set once the speaker has told how its sessions stand."""
        self.up: frozenset[Address] = frozenset()
        """Neighbours whose session is up."""
        self._socket = socket
        self._on_change = on_change
        self._dead: frozenset[Address] = frozenset()
        self._said = ""

    def is_dead(self, address: Address) -> bool:
        """Return whether the neighbour was heard and then no more."""
        return address in self._dead

    def forget(self, address: Address) -> None:
        """Judge a neighbour by its readiness again until it is heard."""
        if address in self._dead:
            log.info("%s is Ready again, and judged by that until BFD hears it", address)
            self._become(self.up, self._dead - {address})

    async def run(self) -> None:
        """Follow the speaker until cancelled."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(
                    self._socket, limit=LINE_LIMIT_BYTES
                )
                try:
                    writer.write(b'{"watch":true}\n')
                    while line := await reader.readline():
                        self.hear(msgspec.json.decode(line))
                    self._said = ""
                finally:
                    writer.close()
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                text = f"BFD is not heard from the speaker on {self._socket}: {error}"
                if text != self._said:
                    log.warning("%s; nodes known to be dead stay so", text)
                    self._said = text
            await asyncio.sleep(RECONNECT_S)

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take one line of the speaker; those that are not about BFD say nothing."""
        match event.get("event"):
            case "state":
                sessions = event.get("bfd") or []
                watched = {parse_address(session["address"]) for session in sessions}
                up, dead = self.up & watched, self._dead & watched
                for session in sessions:
                    up, dead = _after(session, up, dead, was_up=bool(session.get("was_up")))
                self._become(up, dead)
                self.told.set()
            case "bfd":
                was_up = event.get("was") == UP
                self._become(*_after(event, self.up, self._dead, was_up=was_up))

    def _become(self, up: frozenset[Address], dead: frozenset[Address]) -> None:
        changed = (up, dead) != (self.up, self._dead)
        self.up, self._dead = up, dead
        if changed:
            self._on_change()


def _after(
    session: Mapping[str, Any],
    up: frozenset[Address],
    dead: frozenset[Address],
    *,
    was_up: bool,
) -> tuple[frozenset[Address], frozenset[Address]]:
    """Return who is up and who is dead once a session is as told."""
    one = frozenset({parse_address(session["address"])})
    if session["state"] == UP:
        return up | one, dead - one
    if session.get("remote_state") == ADMIN_DOWN:
        return up - one, dead - one
    return up - one, dead | one if was_up else dead
