"""Names of others: what is asked of an outer server, and what it answers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from cairn.dns import (
    Class,
    Message,
    Question,
    Rcode,
    Record,
    Type,
    parse_name,
    read_message,
    write_message,
)
from cairn.lab import dns_forward
from cairn.lab.dns_forward import Forwarder, NoAnswer
from cairn.net import parse_address

SERVER, SILENT = parse_address("127.0.0.1"), parse_address("127.0.0.2")
NAME, WHERE = parse_name("api.example.org"), parse_address("203.0.113.9")
QUERY = write_message(Message(id=7, recursion_desired=True, questions=(Question(NAME, Type.A),)))


def answer_to(query: bytes) -> bytes:
    record = Record(NAME, Type.A, Class.IN, 60, WHERE)
    return write_message(replace(read_message(query), response=True, answers=(record,)))


class Server(asyncio.DatagramProtocol):
    """Answers, after an answer to another question that nobody asked."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        stray = replace(read_message(data), questions=(Question(parse_name("x.org"), Type.A),))
        self._transport.sendto(answer_to(write_message(stray)), addr)
        self._transport.sendto(answer_to(data), addr)


async def serve_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    answer = answer_to(query)
    writer.write(len(answer).to_bytes(2, "big") + answer)
    await writer.drain()
    writer.close()


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A server at one port over both transports, in the place of port 53."""
    stream = await asyncio.start_server(serve_stream, str(SERVER), 0)
    number = stream.sockets[0].getsockname()[1]
    datagrams, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Server, local_addr=(str(SERVER), number), family=socket.AF_INET
    )
    monkeypatch.setattr(dns_forward, "PORT", number)
    yield
    datagrams.close()
    stream.close()
    await stream.wait_closed()


@pytest.mark.usefixtures("port")
@pytest.mark.parametrize("over_tcp", [False, True])
async def test_an_outer_server_is_asked_and_its_answer_returned(over_tcp: bool) -> None:
    forwarder = Forwarder([SILENT, SERVER], is_ours=lambda _: False)
    found = read_message(await forwarder.ask(QUERY, over_tcp=over_tcp))
    assert (found.id, found.rcode) == (7, Rcode.NOERROR)
    assert [record.data for record in found.answers] == [WHERE]


@pytest.mark.usefixtures("port")
async def test_a_server_of_the_cluster_is_not_asked() -> None:
    with pytest.raises(NoAnswer, match="no server for other names"):
        await Forwarder([SERVER], is_ours=lambda _: True).ask(QUERY, over_tcp=False)


@pytest.mark.usefixtures("port")
async def test_if_nobody_answers_that_is_said() -> None:
    with pytest.raises(NoAnswer, match="no outer server answered"):
        await Forwarder([SILENT], is_ours=lambda _: False).ask(QUERY, over_tcp=False)
