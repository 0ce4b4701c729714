"""The part of `cairn why` that a node answers about itself: `cairn why-node`.

    what is asked (JSON)  ->  maps, speaker, agent, proxies, neighbours, connections  ->  NodePart

Cost        one process; everything that may wait is tried at once, half a second at most
"""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from cairn.cli.lb_node import NoMaps, PinnedMaps
from cairn.cli.why_lookup import look_up
from cairn.cli.why_neighbours import neighbours_here, way_to
from cairn.cli.why_question import FlowsQuestion, NodeQuestion
from cairn.desired.proxy import ADMIN, BOOTSTRAP
from cairn.diagnose.doctor.sessions import FLAPS, LONGER
from cairn.diagnose.why.parts import NodePart, Peer, SeenFlow
from cairn.net import parse_address
from cairn.observe.connection_rows import Filter

RUN, PINS = Path("/run/cairn"), Path("/sys/fs/bpf/cairn")
WAIT_S = 0.6
BGP_PORT = 179
CONNECTIONS = 5
ESTABLISHED = "established"


def main(argv: list[str]) -> int:
    """Print what this node says to a question; return 2 if it is none."""
    parser = argparse.ArgumentParser(
        prog="cairn why-node", description="What this node alone says: `cairn why` asks it."
    )
    parser.add_argument("question", metavar="JSON")
    try:
        asked = msgspec.json.decode(parser.parse_args(argv).question, type=NodeQuestion)
    except msgspec.DecodeError as error:
        parser.error(f"the question is not understood: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(answer(asked, RUN, PINS)) + b"\n")
    return 0


def answer(asked: NodeQuestion, run: Path, pins: Path) -> NodePart:
    """Return what this node says."""
    waited = asyncio.run(_wait(asked, run))
    found: dict[str, Any] = {"neighbours": neighbours_here(asked.neighbours)}
    client = _parse(asked.client)
    if client is not None:
        found["back"] = way_to(client)
    if asked.name and asked.server:
        found["lookup"] = look_up(asked.name, asked.server)
    try:
        with PinnedMaps(pins) as maps:
            found |= _maps(maps, asked)
    except NoMaps as error:
        found["error"] = str(error).partition(": run it as root")[0]
    return NodePart(**waited, **found)


def _maps(maps: PinnedMaps, asked: NodeQuestion) -> dict[str, Any]:
    if not asked.address:
        return {}
    address, client = parse_address(asked.address), _parse(asked.client)
    rows = [
        row
        for row in maps.frontends()
        if (row.address, row.port, row.protocol) == (asked.address, asked.port, asked.protocol)
    ]
    found: dict[str, Any] = {"served": bool(rows)}
    if rows:
        found |= {"ready": rows[0].ready, "local": rows[0].local}
    affine = bool(rows and rows[0].affinity_s)
    place = (client, 0) if client is not None and affine else None
    for table in maps.tables(address, asked.port, place):
        if table.frontend.endswith(asked.protocol):
            found |= {"shares": table.shares, "digest": table.digest, "chosen": table.chosen}
    if client is not None:
        page = maps.connections(Filter(vip=address, client=client), CONNECTIONS)
        found["connections"] = tuple(page.connections)
    return found


def _parse(text: str) -> Any:
    with contextlib.suppress(ValueError):
        return parse_address(text)
    return None


async def _wait(asked: NodeQuestion, run: Path) -> dict[str, Any]:
    """Ask everything that answers over a socket, all at once."""
    agent, flows, speaker, dns, proxy, *tried = await asyncio.gather(
        _line(run / "agent.sock", {"command": "STATUS"}),
        _flows(run / "agent.sock", asked.flows),
        _line(run / "speaker.sock", {"get": "state"}),
        _line(run / "dns.sock", {"get": "names"}),
        _envoy(run / "proxy"),
        *(connect(place) for place in asked.targets),
    )
    peers = speaker.get("peers") or () if isinstance(speaker, dict) else ()
    routes = speaker.get("routes") or () if isinstance(speaker, dict) else ()
    return {
        **flows,
        "agent": agent if isinstance(agent, str) else "",
        "speaker": speaker if isinstance(speaker, str) else "",
        "dns": dns if isinstance(dns, str) else "",
        "learnt": _learnt(dns) if isinstance(dns, dict) else None,
        "proxy": proxy,
        "tried": dict(zip(asked.targets, tried, strict=True)),
        "peers": tuple(await asyncio.gather(*map(_peer, peers))),
        "routes": tuple(str(route["prefix"]) for route in routes),
        "lost": tuple(
            str(one["address"])
            for one in (speaker.get("bfd") or () if isinstance(speaker, dict) else ())
            if one.get("was_up") and one.get("state") != "up"
        ),
    }


async def _flows(path: Path, asked: FlowsQuestion) -> dict[str, Any]:
    """Return the flows that the agent remembers; nothing if it cannot tell."""
    if not asked.clients:
        return {}
    said = await _line(path, {"command": "FLOWS", **msgspec.to_builtins(asked)})
    try:
        flows = msgspec.convert(said["flows"], tuple[SeenFlow, ...])
        return {"flows": flows, "flows_reach_s": float(said["reaches_s"])}
    except (LookupError, TypeError, ValueError):
        return {}


def _learnt(said: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        str(one["name"]): tuple(str(a["address"]) for a in one.get("addresses") or ())
        for one in said.get("names") or ()
        if one.get("name")
    }


async def _peer(raw: dict[str, Any]) -> Peer:
    state, answered = str(raw.get("state") or "").lower(), ""
    address = str(raw.get("address") or "")
    if state != ESTABLISHED:
        host = f"[{address}]" if ":" in address else address
        said = await connect(f"{host}:{BGP_PORT}")
        answered = {"": "connected"}.get(said, "refused" if "refused" in said else "no answer")
    life_s = float(raw.get("life_s") or 0)
    flaps = int(raw.get("ended") or 0) >= FLAPS and (raw.get("uptime_s") or 0) < LONGER * life_s
    return Peer(
        address,
        state,
        int(raw.get("asn") or 0),
        int(raw.get("local_asn") or 0),
        str(raw.get("last_error") or ""),
        answered,
        flaps,
        ", ".join(map(str, raw.get("not_announced") or ())),
    )


async def connect(place: str, wait_s: float = WAIT_S) -> str:
    """Return what a TCP connection to ADDRESS:PORT came to; empty: it was accepted."""
    host, _, port = place.rpartition(":")
    try:
        async with asyncio.timeout(wait_s):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        return f"no answer within {wait_s} s"
    except ConnectionRefusedError:
        return "connection refused"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    writer.close()
    return ""


async def _line(path: Path, request: dict[str, Any]) -> Any:
    """Return the JSON that a daemon answers with, or a text: why it does not."""

    async def ask() -> Any:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 24)
        writer.write(json.dumps(request).encode() + b"\n")
        try:
            return msgspec.json.decode(await reader.readline())
        finally:
            writer.close()

    return await _told(path, ask)


async def _accepts(path: Path) -> str:
    async def ask() -> str:
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.close()
        return ""

    return str(await _told(path, ask))


async def _envoy(directory: Path) -> str:
    if not (directory / BOOTSTRAP).exists():
        return ""
    return await _accepts(directory / ADMIN)


async def _told(path: Path, ask: Callable[[], Awaitable[Any]]) -> Any:
    try:
        async with asyncio.timeout(WAIT_S):
            return await ask()
    except TimeoutError:
        return f"no answer on {path} within {WAIT_S} s"
    except FileNotFoundError:
        return f"{path} is not there"
    except OSError as error:
        return f"{path}: {(error.strerror or str(error)).lower()}"
    except msgspec.DecodeError:
        return f"{path}: an answer that is no JSON"
