"""Names of the outer world, asked of the servers that the host uses.

    query octets  ->  answer octets, or NoAnswer with the reason

Invariants  Each query leaves from a port and with an id of its own; an answer that does not match
            the question is passed over.
Standards   RFC 5452 (forged answers), RFC 7766 (TCP)
"""

import asyncio
import os
from collections.abc import Callable, Sequence

from cairn.dns import Rcode
from cairn.net import Address

ATTEMPT_S = 2.0
PORT = 53
QUESTION_AT = 12


class NoAnswer(Exception):
    """No server answered; `rcode` is for the client, `reason` for the counter."""

    def __init__(self, rcode: Rcode, reason: str) -> None:
        super().__init__(reason)
        self.rcode = rcode
        self.reason = reason


class Forwarder:
    """Asks each upstream server in turn."""

    def __init__(self, upstreams: Sequence[Address], *, is_ours: Callable[[Address], bool]) -> None:
        self._upstreams = upstreams
        self._is_ours = is_ours

    async def ask(self, query: bytes, *, over_tcp: bool) -> bytes:
        """Return the first answer; raises NoAnswer."""
        # A server of the cluster itself would send the query back to us, round and round.
        servers = [address for address in self._upstreams if not self._is_ours(address)]
        if not servers:
            raise NoAnswer(Rcode.REFUSED, "refused: no server for other names (resolv.conf)")
        number = os.urandom(2)
        for server in servers:
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    way = _over_tcp if over_tcp else _over_udp
                    answer = await way(str(server), number + query[2:])
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
            return query[:2] + answer[2:]
        raise NoAnswer(Rcode.SERVFAIL, "failed: no outer server answered")


class _Exchange(asyncio.DatagramProtocol):
    def __init__(self, query: bytes, answer: "asyncio.Future[bytes]") -> None:
        self._query = query
        self._answer = answer

    def datagram_received(self, data: bytes, addr: object) -> None:
        if _matches(self._query, data) and not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


async def _over_udp(server: str, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Exchange(query, answer), remote_addr=(server, PORT)
    )
    try:
        transport.sendto(query)
        return await answer
    finally:
        transport.close()


async def _over_tcp(server: str, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, PORT)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        await writer.drain()
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()
    if not _matches(query, answer):
        raise OSError("the answer is to another question")
    return answer


def _matches(query: bytes, answer: bytes) -> bool:
    if len(answer) < QUESTION_AT or answer[:2] != query[:2] or not answer[2] & 0x80:
        return False
    end = query.find(b"\0", QUESTION_AT)
    name = query[QUESTION_AT : end + 1].lower()
    count = int.from_bytes(answer[4:6], "big")
    return count == 0 or answer[QUESTION_AT : QUESTION_AT + len(name)].lower() == name
