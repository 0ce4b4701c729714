"""A client that opens connections at a steady rate, or holds many, and reports as JSON.

rate URL REQUESTS_PER_S SECONDS          one connection a request; counts what failed and why
hold ADDRESS PORT CONNECTIONS            opens them, prints "open", and at each line on standard
                                         input sends a request on every one and reports
"""

import asyncio
import collections
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit


async def fetch(host: str, port: int) -> str:
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 3)
    try:
        return await ask(reader, writer, host, close=True)
    finally:
        writer.close()


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, *, close: bool
) -> str:
    kind = "close" if close else "keep-alive"
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: {kind}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3)
    status = head.split(b" ", 2)[1].decode()
    if status != "200":
        raise ConnectionError(f"status {status}")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    body = await asyncio.wait_for(reader.readexactly(length), 3)
    return next((line[5:] for line in body.decode().splitlines() if line.startswith("pod: ")), "?")


async def rate(url: str, per_s: float, seconds: float) -> dict[str, Any]:
    parts = urlsplit(url)
    failures: collections.Counter[str] = collections.Counter()
    pods: collections.Counter[str] = collections.Counter()

    async def one() -> None:
        try:
            pods[await fetch(parts.hostname or "", parts.port or 80)] += 1
        except (OSError, TimeoutError, asyncio.IncompleteReadError, StopIteration) as error:
            failures[f"{type(error).__name__} {error}"] += 1

    start, sent = time.monotonic(), 0
    tasks: set[asyncio.Task[None]] = set()
    while (now := time.monotonic() - start) < seconds:
        while sent < now * per_s:
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(0.002)
    await asyncio.gather(*tasks)
    return {"sent": sent, "failures": dict(failures), "pods": dict(pods)}


async def hold(host: str, port: int, count: int) -> None:
    connections = [await asyncio.open_connection(host, port) for _ in range(count)]
    pods = [await ask(*connection, host, close=False) for connection in connections]
    print(json.dumps({"open": len(pods), "pods": dict(collections.Counter(pods))}), flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        broken: collections.Counter[str] = collections.Counter()
        moved = 0
        for index, connection in enumerate(connections):
            try:
                moved += await ask(*connection, host, close=False) != pods[index]
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                broken[type(error).__name__] += 1
        report = {"broken": sum(broken.values()), "why": dict(broken), "moved": moved}
        print(json.dumps(report), flush=True)


def main() -> None:
    match sys.argv[1:]:
        case ["rate", url, per_s, seconds]:
            print(json.dumps(asyncio.run(rate(url, float(per_s), float(seconds)))))
        case ["hold", address, port, count]:
            asyncio.run(hold(address, int(port), int(count)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
