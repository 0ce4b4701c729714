"""A client for tests: asks many servers at once and reports what came back.

    [{"id", "protocol": "tcp" or "udp", "host", "port", "times", "pad"}] on standard input
    ->  {id: [answer, ...]} on standard output

An answer is {"name", "client"} as answer.py says it, plus "octets" for datagrams, or {"error"}: the
name of the exception, "timeout" where nothing came back within two seconds.
"""

import asyncio
import json
import socket
import sys
from typing import Any

PATIENCE_S = 2.0
AT_ONCE = 24


def read(line: bytes) -> dict[str, Any]:
    """Return what a line of answer.py says."""
    name, client, _port = line.split(b"\n")[0].decode().split()
    return {"name": name, "client": client}


async def ask_tcp(host: str, port: int) -> dict[str, Any]:
    """Open a connection and read the line."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        line = await reader.readline()
        return read(line) if line else {"error": "closed"}
    finally:
        writer.close()


async def ask_udp(host: str, port: int, pad: int) -> dict[str, Any]:
    """Send a datagram from a connected socket and read the answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (host, port))
        await loop.sock_sendall(sock, f"pad={pad}".encode().ljust(pad, b"."))
        data = await loop.sock_recv(sock, 65536)
        return {**read(data), "octets": len(data)}


async def ask(question: dict[str, Any], turn: asyncio.Semaphore) -> dict[str, Any]:
    """Ask once."""
    host, port = question["host"], question["port"]
    async with turn:
        try:
            async with asyncio.timeout(PATIENCE_S):
                if question["protocol"] == "tcp":
                    return await ask_tcp(host, port)
                return await ask_udp(host, port, question.get("pad", 0))
        except TimeoutError:
            return {"error": "timeout"}
        except (OSError, ValueError) as error:
            return {"error": type(error).__name__}


async def main() -> None:
    """Ask everything and print the answers."""
    questions = json.load(sys.stdin)
    turn = asyncio.Semaphore(AT_ONCE)
    answers = {}
    for question in questions:
        answers[question["id"]] = await asyncio.gather(
            *(ask(question, turn) for _ in range(question.get("times", 1)))
        )
    json.dump(answers, sys.stdout)


asyncio.run(main())
