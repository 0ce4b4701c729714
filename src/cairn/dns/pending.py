"""Queries over UDP that wait for an answer: which answer belongs to which client.

    open(query, client, server)  ->  octets for the server;  close(octets, server)  ->  Waiting

Invariants  Each query leaves under an id of our own, random and unused among those that wait at the
            same socket; an answer counts only with that id, from that server, with that question.
            At most `most` wait at a socket, which belongs to one client: who floods, floods itself.
Standards   RFC 5452 (forged answers)
Units       times in seconds of the driver's clock
"""

from collections.abc import Callable
from dataclasses import dataclass

from cairn.dns.answer import belongs
from cairn.dns.query import HEADER_OCTETS, Query

Place = tuple[str, int]
"""Address and port, as sockets spell them."""


@dataclass(slots=True)
class Waiting:
    """One query that a server was asked."""

    query: Query
    """As the client sent it."""
    question: bytes
    """What the answer must repeat."""
    client: Place
    """Who asked."""
    server: Place
    """Who was asked."""
    deadline: float
    """When we give up."""


@dataclass(frozen=True, slots=True)
class Unasked:
    """A message that answers nothing that waits."""

    reason: str
    """`unasked id`, `unasked source` or `unasked question`: also the name of a counter."""


class Pending:
    """What waits at one socket towards the servers."""

    def __init__(self, random: Callable[[], int], *, most: int = 256) -> None:
        """`random` returns a number of 16 bits."""
        self._random = random
        self._most = most
        self._waiting: dict[int, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def open(self, query: Query, client: Place, server: Place, deadline: float) -> bytes | None:
        """Return the octets for the server; None if too many wait."""
        waiting = self._waiting
        if len(waiting) >= self._most:
            return None
        number = self._random()
        while number in waiting:
            number = self._random()
        waiting[number] = Waiting(query, query.question, client, server, deadline)
        return number.to_bytes(2, "big") + query.octets[2:]

    def close(self, octets: bytes, server: Place) -> Waiting | Unasked:
        """Return who waits for this message, and wait no more."""
        if len(octets) < HEADER_OCTETS:
            return Unasked("malformed answers")
        number = octets[0] << 8 | octets[1]
        waiting = self._waiting.get(number)
        if waiting is None:
            return Unasked("unasked id")
        if waiting.server != server:
            return Unasked("unasked source")
        if not belongs(octets, waiting.question):
            return Unasked("unasked question")
        del self._waiting[number]
        return waiting

    def cancel(self, octets: bytes) -> None:
        """Forget what `open` returned `octets` for: it could not be sent."""
        self._waiting.pop(octets[0] << 8 | octets[1], None)

    def reopen(self, octets: bytes, waiting: Waiting) -> None:
        """Wait on: what came in `octets` was no use."""
        self._waiting[octets[0] << 8 | octets[1]] = waiting

    def expire(self, now: float) -> list[Waiting]:
        """Return those whose time has passed, and wait no more."""
        # Insertion order is the order of the deadlines: all wait equally long.
        late = []
        for number, waiting in self._waiting.items():
            if waiting.deadline > now:
                break
            late.append(number)
        return [self._waiting.pop(number) for number in late]
