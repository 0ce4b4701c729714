"""The part of `cairn trace` that a node answers: `cairn trace-node`.

    what is asked (JSON)  ->  the agent's socket  ->  its lines, until standard input ends

Invariants  Ends when nobody reads any more: standard input ends, or a line finds no reader. With it
            goes the connection to the agent, and with that the filter.
"""

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from cairn.observe.trace_filter import TraceQuestion
from cairn.observe.traced_packet import TraceLine

RUN = Path("/run/cairn")
OK, FAILED = 0, 1
CHUNK_BYTES = 1 << 16


def main(argv: list[str]) -> int:
    """Pass on what the agent says; return 2 if it is asked nonsense."""
    parser = argparse.ArgumentParser(
        prog="cairn trace-node", description="What this node alone says: `cairn trace` asks it."
    )
    parser.add_argument("question", metavar="JSON")
    text = parser.parse_args(argv).question
    try:
        asked = msgspec.json.decode(text, type=TraceQuestion)
    except msgspec.DecodeError as error:
        parser.error(f"the question is not understood: {error}")
    return asyncio.run(pass_on(asked, RUN / "agent.sock"))


async def pass_on(asked: TraceQuestion, path: Path) -> int:
    """Print the agent's lines until one side has enough."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 20)
    except OSError as error:
        _print(TraceLine(error=f"the agent does not answer on {path}: {error.strerror or error}"))
        return OK
    call: dict[str, Any] = msgspec.to_builtins(asked) | {"command": "TRACE"}
    writer.write(msgspec.json.encode(call) + b"\n")
    told = asyncio.ensure_future(_copy(reader))
    unheard = asyncio.ensure_future(_end_of_input())
    await asyncio.wait((told, unheard), return_when=asyncio.FIRST_COMPLETED)
    writer.close()
    for task in (told, unheard):
        task.cancel()
    await asyncio.gather(told, unheard, return_exceptions=True)
    return OK


async def _copy(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):  # nobody reads
        while chunk := await reader.read(CHUNK_BYTES):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()


async def _end_of_input() -> None:
    """Return when standard input has ended; what comes before is not looked at."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    fd = os.dup(sys.stdin.fileno())
    try:
        pipe = os.fdopen(fd, "rb", buffering=0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    except ValueError:  # a file or /dev/null: nothing that could end later
        await asyncio.Event().wait()
    while await reader.read(CHUNK_BYTES):
        pass


def _print(line: TraceLine) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()
