"""A pod that does what it may and what it may not, at a steady rate, and tells what came of it.

    judged.py WEB:PORT NAME FORBIDDEN_NAME FORBIDDEN_ADDRESS PER_S

Four things take turns: a request that the rules allow (200), one that they deny (403), a name that
may be asked and what it means reached (port 80), and a name and an address that must not be. Prints
a line of JSON at once, and one for each line on standard input: per kind how often it went as it
should, and otherwise what happened.

A query that gets no answer is sent again, as resolvers do; a connection that gets none waits for
the kernel's next SYN. A request whose connection broke while it was in flight is asked again a
moment later, once: a process that is being killed accepts connections until its last socket closes.
"""

import asyncio
import collections
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cairn.dns import Message, Question, Rcode, Type, parse_name, read_message, write_message

CONNECT_S = 8.0
"""The kernel sends a SYN at 0, 1, 3 and 7 seconds."""
ANSWER_S = 5.0
QUERY_S, QUERIES = 1.0, 6
AGAIN_S = 0.1
FORBIDDEN_S = 0.7
"""How long to wait for what must not come."""


class Refused(Exception):
    """What was allowed did not happen."""


class Passed(Exception):
    """What was forbidden did happen."""


class Judged:
    """The work, and what became of it."""

    def __init__(self, web: str, name: str, forbidden_name: str, forbidden: str) -> None:
        host, _, port = web.rpartition(":")
        self._web = (host, int(port))
        self._name, self._forbidden_name, self._forbidden = name, forbidden_name, forbidden
        self._server = nameserver()
        self.good: collections.Counter[str] = collections.Counter()
        self.bad: collections.Counter[str] = collections.Counter()
        self.again = 0
        self.begun = 0

    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return what is done, by name."""
        return {
            "request": lambda: self._request("/public", 200),
            "denied request": lambda: self._request("/secret", 403),
            "name": self._reach_by_name,
            "forbidden name": self._ask_forbidden,
            "forbidden address": self._reach_forbidden,
        }

    async def run(self, per_s: int) -> None:
        """Do it at a steady rate, the kinds in turn."""
        tasks: set[asyncio.Task[None]] = set()
        kinds = tuple(self.kinds().items())
        start = time.monotonic()
        while True:
            while self.begun < (time.monotonic() - start) * per_s:
                task = asyncio.create_task(self._note(*kinds[self.begun % len(kinds)]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                self.begun += 1
            await asyncio.sleep(0.002)

    async def _note(self, kind: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
            self.good[kind] += 1
        except (OSError, TimeoutError, EOFError, Refused, Passed) as error:
            self.bad[f"{kind}: {type(error).__name__} {error}"] += 1

    async def _request(self, path: str, expected: int) -> None:
        try:
            status = await fetch(*self._web, path)
        except (ConnectionError, EOFError):
            self.again += 1
            await asyncio.sleep(AGAIN_S)
            status = await fetch(*self._web, path)
        if status != expected:
            raise (Passed if status == 200 else Refused)(f"status {status}")

    async def _reach_by_name(self) -> None:
        rcode, addresses = await ask(self._server, self._name)
        if not addresses:
            raise Refused(f"{rcode.name} for {self._name}")
        status = await fetch(addresses[0], 80, "/")
        if status != 200:
            raise Refused(f"status {status}")

    async def _ask_forbidden(self) -> None:
        try:
            _, addresses = await ask(self._server, self._forbidden_name)
        except TimeoutError:
            return  # refused without a word
        if addresses:
            raise Passed(f"{self._forbidden_name} is {addresses[0]}")

    async def _reach_forbidden(self) -> None:
        try:
            async with asyncio.timeout(FORBIDDEN_S):
                _, writer = await asyncio.open_connection(self._forbidden, 80)
        except (OSError, TimeoutError):
            return
        writer.close()
        raise Passed(f"connected to {self._forbidden}")

    def report(self) -> dict[str, Any]:
        """Return what happened so far."""
        return {"good": dict(self.good), "bad": dict(self.bad), "again": self.again}


async def fetch(host: str, port: int, path: str) -> int:
    """Return the status of a request on a connection of its own."""
    async with asyncio.timeout(CONNECT_S):
        reader, writer = await asyncio.open_connection(host, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        async with asyncio.timeout(ANSWER_S):
            head = await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1])


class Query(asyncio.DatagramProtocol):
    """One query on a socket of its own."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _addr: tuple[str, int]) -> None:
        message = read_message(data)
        if message.id == self._number and not self.answer.done():
            self.answer.set_result(message)


async def ask(server: str, name: str) -> tuple[Rcode, list[str]]:
    """Return the outcome of a query and the addresses of the answer; raises TimeoutError."""
    loop = asyncio.get_running_loop()
    number = random.randrange(65536)
    query = Message(
        id=number, recursion_desired=True, questions=(Question(parse_name(name), Type.A),)
    )
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Query(number), remote_addr=(server, 53)
    )
    try:
        for _ in range(QUERIES):
            transport.sendto(write_message(query))
            done, _ = await asyncio.wait({protocol.answer}, timeout=QUERY_S)
            if done:
                found = protocol.answer.result()
                data = [record.data for record in found.answers if record.type == Type.A]
                return Rcode(found.rcode), [str(ip_address(item)) for item in map(str, data)]
    finally:
        transport.close()
    raise TimeoutError(f"no answer for {name}")


def nameserver() -> str:
    """Return the first name server of resolv.conf."""
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("nameserver"))


async def main() -> None:
    """Run until standard input ends."""
    judged = Judged(*sys.argv[1:5])
    print(json.dumps({"kinds": len(judged.kinds())}), flush=True)
    work = asyncio.create_task(judged.run(int(sys.argv[5])))
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        assert not work.done(), work
        print(json.dumps(judged.report()), flush=True)
    os._exit(0)


asyncio.run(main())
