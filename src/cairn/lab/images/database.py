"""The lab's small database: greets like PostgreSQL and answers every query with who it is.

    TCP port 5432  ->  startup reply, one row per query

Standards   PostgreSQL frontend/backend protocol 3.0, chapter "Message Flow"
"""

import asyncio
import contextlib
import enum
import os
import signal
import socket
import sys

from cairn.wire import Malformed, Reader, Writer

MAX_MESSAGE_BYTES = 1 << 20
TEXT_TYPE = 25


class Request(enum.IntEnum):
    """What a first message may ask for in place of a protocol version."""

    CANCEL = 80877102
    SSL = 80877103
    GSS = 80877104


def message(kind: str, body: bytes) -> bytes:
    """Return one message of the server."""
    return Writer().put(kind.encode()).u32(len(body) + 4).put(body).done()


def greeting(process: int) -> bytes:
    """Return what follows a startup message: welcome, parameters, ready."""
    parameters = {
        "server_version": "15.0 (cairn lab)",
        "client_encoding": "UTF8",
        "server_encoding": "UTF8",
        "standard_conforming_strings": "on",
    }
    out = message("R", Writer().u32(0).done())
    for name, value in parameters.items():
        out += message("S", f"{name}\0{value}\0".encode())
    out += message("K", Writer().u32(process).u32(0).done())
    return out + ready()


def ready() -> bytes:
    """Return "ready for a query"."""
    return message("Z", b"I")


def row(answer: str) -> bytes:
    """Return a result of one column and one row."""
    text = answer.encode()
    column = Writer().u16(1).put(b"answer\0").u32(0).u16(0).u32(TEXT_TYPE).u16(0xFFFF)
    described = column.u32(0xFFFFFFFF).u16(0).done()
    data = Writer().u16(1).u32(len(text)).put(text).done()
    done = message("C", b"SELECT 1\0")
    return message("T", described) + message("D", data) + done + ready()


def refusal(kind: str) -> bytes:
    """Return an error for a message that this server does not know, and readiness."""
    text = f"the lab's database knows simple queries only, not message {kind!r}"
    fields = f"SERROR\0C0A000\0M{text}\0\0"
    return message("E", fields.encode()) + ready()


class Database:
    """The service."""

    def __init__(self, who: str) -> None:
        self._who = who

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, Malformed):
            if await self._start(reader, writer):
                await self._queries(reader, writer)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            body = Reader(await _body(reader))
            match body.u32():
                case Request.SSL | Request.GSS:
                    writer.write(b"N")
                case Request.CANCEL:
                    return False
                case _:
                    writer.write(greeting(os.getpid()))
                    await writer.drain()
                    return True

    async def _queries(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind = (await reader.readexactly(1)).decode("latin-1")
            await _body(reader)
            if kind == "X":
                return
            if kind == "Q":
                writer.write(row(self._who))
            elif kind in ("S", "H"):  # Sync, Flush
                writer.write(ready())
            else:
                writer.write(refusal(kind))
            await writer.drain()


async def _body(reader: asyncio.StreamReader) -> bytes:
    length = Reader(await reader.readexactly(4)).u32()
    if not 4 <= length <= MAX_MESSAGE_BYTES:
        raise Malformed(f"message of {length} octets", at=0)
    return await reader.readexactly(length - 4)


async def _serve(port: int) -> None:
    pod = os.environ.get("CAIRN_POD") or socket.gethostname()
    database = Database(f"{pod} on {os.environ.get('CAIRN_NODE', '?')}")
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    server = await asyncio.start_server(database.connection, None, port)
    sys.stdout.write(f"database: serving on port {port}\n")
    sys.stdout.flush()
    await told.wait()
    server.close()


def main() -> int:
    """Serve until SIGTERM."""
    try:
        asyncio.run(_serve(int(os.environ.get("PORT") or "5432")))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"database: cannot serve: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
