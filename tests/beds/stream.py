"""A client that loses nothing unseen: holds many connections and opens new ones at a steady rate.

    stream.py ADDRESS PORT HELD PER_S

Speaks to answer.py. Prints a line of JSON when all connections are open, and one for each line on
standard input: what was asked since, what was lost, on connections held and on new ones. Every
connection held is asked twice a second in turn; an answer that takes three seconds is lost.
"""

import asyncio
import collections
import json
import os
import socket
import struct
import sys
import time
from typing import Any

PATIENCE_S = 3.0
ROUND_S = 2.0
LATE_S = 0.9
"""Just under the kernel's first wait before it sends a SYN again: a packet was lost, or more."""
Held = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Stream:
    """The connections, and what became of them."""

    def __init__(self, host: str, port: int) -> None:
        self._where = (host, port)
        self.asked = 0
        self.opened = 0
        self.slowest_s = 0.0
        self.late: collections.Counter[str] = collections.Counter()
        self.lost: collections.Counter[str] = collections.Counter()

    async def open(self) -> Held:
        """Open a connection to be held."""
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(*self._where)
            await reader.readline()
        return reader, writer

    async def hold(self, held: list[Held], share: int, shares: int) -> None:
        """Ask the connections of one share round after round."""
        mine = held[share::shares]
        while True:
            began = time.monotonic()
            for reader, writer in mine:
                await self._note("held", self._ask(reader, writer))
                self.asked += 1
                await asyncio.sleep(0)
            await asyncio.sleep(max(0.0, ROUND_S - (time.monotonic() - began)))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"?\n")
        if not await reader.readline():
            raise ConnectionError("closed")

    async def _once(self) -> None:
        reader, writer = await asyncio.open_connection(*self._where)
        # Closed by a reset, or the ports that wait out their time would run short.
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            if not await reader.readline():
                raise ConnectionError("closed")
        finally:
            writer.close()

    async def _note(self, kind: str, work: Any) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await work
        except (OSError, TimeoutError) as error:
            self.lost[f"{kind}: {type(error).__name__} {error}"] += 1
        took_s = time.monotonic() - began
        self.late[kind] += took_s > LATE_S
        self.slowest_s = max(self.slowest_s, took_s)

    async def begin(self, per_s: int) -> None:
        """Open new connections at a steady rate."""
        tasks: set[asyncio.Task[None]] = set()
        start = time.monotonic()
        while True:
            while self.opened < (time.monotonic() - start) * per_s:
                task = asyncio.create_task(self._note("new", self._once()))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                self.opened += 1
            await asyncio.sleep(0.002)

    def report(self) -> dict[str, Any]:
        """Return what happened so far."""
        return {
            "asked": self.asked,
            "opened": self.opened,
            "lost": dict(self.lost),
            "late": {kind: count for kind, count in self.late.items() if count},
            "slowest_ms": round(1000 * self.slowest_s),
        }


async def main() -> None:
    """Run until standard input ends."""
    host, port, count, per_s = sys.argv[1], *map(int, sys.argv[2:5])
    stream = Stream(host, port)
    held = [await stream.open() for _ in range(count)]
    print(json.dumps({"held": len(held)}), flush=True)
    shares = 8
    tasks = [asyncio.create_task(stream.hold(held, share, shares)) for share in range(shares)]
    tasks.append(asyncio.create_task(stream.begin(per_s)))
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(stream.report()), flush=True)
    os._exit(0)  # thousands of connections need not be closed one by one


asyncio.run(main())
