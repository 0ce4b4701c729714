"""What the DNS proxy judges, as it tells of it.

    its socket  ->  on_lookups(lookups, lost), a few times a second

Invariants  The proxy never waits for us: what we are too slow for it counts, and we hand on how
            many these were. It is asked again while it is away.
Not here    what it should do (dns_link.py)
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from cairn.dns.lookup import Lookup, Lost, read_lookup

AGAIN_S = 1.0
PAUSE_S = 0.25
LINE_LIMIT_BYTES = 1 << 16
MOST_AT_ONCE = 4096

log = logging.getLogger("dns")

OnLookups = Callable[[Sequence[Lookup], int, int], None]
"""Takes lookups, how many more there were, and how many lines were none."""


async def watch_lookups(socket: Path, on_lookups: OnLookups) -> None:
    """Hand over lookups until cancelled."""
    while True:
        try:
            await _follow(socket, on_lookups)
        except (OSError, ValueError) as error:
            log.debug("DNS proxy at %s tells of no lookups: %s", socket, error)
        await asyncio.sleep(AGAIN_S)


async def _follow(socket: Path, on_lookups: OnLookups) -> None:
    reader, writer = await asyncio.open_unix_connection(socket, limit=LINE_LIMIT_BYTES)
    try:
        writer.write(json.dumps({"watch": "lookups"}).encode() + b"\n")
        while line := await reader.readline():
            await _take(line, reader, on_lookups)
    finally:
        writer.close()


async def _take(first: bytes, reader: asyncio.StreamReader, on_lookups: OnLookups) -> None:
    """Hand over a line, and those that came right after it."""
    lookups: list[Lookup] = []
    lost = bad = 0
    line = first
    while line:
        try:
            found = None if line.startswith(b'{"event"') else read_lookup(line)
        except ValueError:
            bad += 1
        else:
            if isinstance(found, Lost):
                lost += found.lost
            elif found is not None:
                lookups.append(found)
        if len(lookups) >= MOST_AT_ONCE:
            break
        try:
            async with asyncio.timeout(PAUSE_S):
                line = await reader.readline()
        except TimeoutError:
            break
    on_lookups(lookups, lost, bad)
