"""The lab's own images: the web server over HTTP/1.1 and HTTP/2, the small database."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded

from cairn.lab.images.web_answer import Site, answer
from cairn.lab.kubelet.unsupported import unsupported_fields

WHO = {"CAIRN_POD": "web-1", "CAIRN_NAMESPACE": "shop", "CAIRN_NODE": "node-1"}


@dataclass
class Served:
    process: asyncio.subprocess.Process
    port: int


async def serve(module: str) -> Served:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env={**os.environ, **WHO, "PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    assert f"serving on port {port}".encode() in line
    return Served(process, port)


@pytest.fixture
async def web() -> AsyncIterator[Served]:
    served = await serve("cairn.lab.images.web")
    yield served
    if served.process.returncode is None:
        served.process.kill()
        await served.process.wait()


async def ask(port: int, method: str, target: str, *headers: str) -> tuple[int, str, str]:
    """Return status, head and body of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} {target} HTTP/1.1", "Host: web.shop", "Connection: close", *headers]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), head, body


async def test_says_who_it_is_and_who_asks(web: Served) -> None:
    status, _, body = await ask(web.port, "GET", "/", "Accept: application/json")
    facts = json.loads(body)
    assert status == 200
    assert (facts["pod"], facts["namespace"], facts["node"]) == ("web-1", "shop", "node-1")
    assert facts["client"] == "127.0.0.1"
    assert facts["host"] == "web.shop"
    _, _, text = await ask(web.port, "GET", "/")
    assert "pod: web-1\n" in text


async def test_health_is_switched(web: Served) -> None:
    assert (await ask(web.port, "GET", "/healthz"))[0] == 200
    await ask(web.port, "POST", "/fail")
    assert (await ask(web.port, "GET", "/healthz"))[0] == 503
    await ask(web.port, "POST", "/recover")
    assert (await ask(web.port, "GET", "/healthz"))[0] == 200


async def test_connection_is_kept_for_several_requests(web: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    for _ in range(3):
        writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert "Connection: keep-alive" in head
        length = int(head.partition("Content-Length: ")[2].split("\r\n")[0])
        assert b"path: /x" in await reader.readexactly(length)
    writer.close()


async def test_http2_with_prior_knowledge(web: Served) -> None:
    machine = H2Connection()
    machine.initiate_connection()
    fields = [(":method", "GET"), (":path", "/json"), (":scheme", "http"), (":authority", "a")]
    machine.send_headers(1, fields, end_stream=True)
    machine.send_headers(3, fields, end_stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    bodies: dict[int, bytes] = {1: b"", 3: b""}
    statuses, ended = [], 0
    while ended < 2:
        writer.write(machine.data_to_send())
        for event in machine.receive_data(await asyncio.wait_for(reader.read(65536), 10)):
            if isinstance(event, ResponseReceived):
                statuses += [value for name, value in event.headers or () if name == b":status"]
            elif isinstance(event, DataReceived):
                bodies[event.stream_id or 0] += event.data or b""
            ended += isinstance(event, StreamEnded)
    writer.close()
    assert statuses == [b"200", b"200"]
    assert [json.loads(body)["protocol"] for body in bodies.values()] == ["HTTP/2", "HTTP/2"]


async def test_no_request_fails_while_it_ends(web: Served) -> None:
    slow = asyncio.create_task(ask(web.port, "GET", "/slow?s=1"))
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    await asyncio.sleep(0.2)
    web.process.send_signal(signal.SIGTERM)
    for _ in range(5):
        assert (await ask(web.port, "GET", "/"))[0] == 200
        await asyncio.sleep(0.2)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Connection: close" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert (await slow)[0] == 200
    assert await asyncio.wait_for(web.process.wait(), 10) == 0


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
async def test_nonsense_gets_400(web: Served, head: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(head)
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400")
    writer.close()


def test_port_in_use_is_one_line() -> None:
    async def body() -> tuple[int | None, bytes]:
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))
            taken.listen()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "cairn.lab.images.web",
                str(taken.getsockname()[1]),
                stderr=asyncio.subprocess.PIPE,
            )
            _, errors = await process.communicate()
            return process.returncode, errors

    status, errors = asyncio.run(body())
    assert status == 1
    assert errors.count(b"\n") == 1
    assert b"web: port" in errors


def test_mapped_address_is_shown_plainly() -> None:
    site = Site("p", "n", "node")
    found = answer(site, "GET", "/json", {}, ("::ffff:192.168.50.10", 4), "HTTP/1.1")
    assert json.loads(found.body)["client"] == "192.168.50.10"


async def test_database_greets_and_answers() -> None:
    served = await serve("cairn.lab.images.database")
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        async with asyncio.timeout(10):
            writer.write((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
            assert await reader.readexactly(1) == b"N"
            startup = (196608).to_bytes(4, "big") + b"user\0me\0\0"
            writer.write((len(startup) + 4).to_bytes(4, "big") + startup)
            kinds = [await read_message(reader) for _ in range(7)]
            assert [kind for kind, _ in kinds] == [b"R", *[b"S"] * 4, b"K", b"Z"]
            query = b"select 1\0"
            writer.write(b"Q" + (len(query) + 4).to_bytes(4, "big") + query)
            rows = [await read_message(reader) for _ in range(4)]
            assert [kind for kind, _ in rows] == [b"T", b"D", b"C", b"Z"]
            assert b"web-1 on node-1" in rows[1][1]
            writer.write(b"P" + (4).to_bytes(4, "big"))
            assert (await read_message(reader))[0] == b"E"
    finally:
        writer.close()
        served.process.terminate()
        assert await asyncio.wait_for(served.process.wait(), 10) == 0


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    length = int.from_bytes(await reader.readexactly(4), "big")
    return kind, await reader.readexactly(length - 4)


def test_fields_that_are_not_honoured_are_named() -> None:
    container = {
        "name": "a",
        "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
        "lifecycle": {"postStart": {"exec": {}}},
        "livenessProbe": {"grpc": {"port": 1}},
    }
    fields = unsupported_fields({"spec": {"hostPID": True, "containers": [container]}})
    where = "containers[a]"
    assert fields == [
        "hostPID",
        f"{where}.resources.limits",
        f"{where}.lifecycle.postStart",
        f"{where}.livenessProbe.grpc",
    ]
    assert unsupported_fields({"spec": {"containers": [{"name": "a"}]}}) == []
