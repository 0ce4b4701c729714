"""The world outside of a lab: names, and a web server at every address of the host.

    outside.py NAME=ADDRESS...

Answers DNS over UDP at port 53 (a name that is not given does not exist) and HTTP at port 80, at
all addresses. Prints a line of JSON when it is ready.
"""

import asyncio
import json
import socket
import sys
from dataclasses import replace
from ipaddress import ip_address
from typing import cast

from cairn.dns import Class, Name, Rcode, Record, Type, parse_name, read_message, write_message
from cairn.dns.name import fold

TTL_S = 1
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


class Names(asyncio.DatagramProtocol):
    """The name server."""

    def __init__(self, addresses: dict[Name, str]) -> None:
        self._addresses = addresses

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = read_message(data)
        question = query.questions[0]
        address = self._addresses.get(fold(question.name))
        records: tuple[Record, ...] = ()
        if address and question.type == Type.A:
            records = (Record(question.name, Type.A, Class.IN, TTL_S, ip_address(address)),)
        answer = replace(
            query,
            response=True,
            recursion_available=True,
            rcode=Rcode.NOERROR if address else Rcode.NXDOMAIN,
            answers=records,
        )
        self._transport.sendto(write_message(answer), addr)


async def serve_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PAGE)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # who asked has gone
    finally:
        writer.close()


async def main() -> None:
    """Serve until ended."""
    given = (word.split("=") for word in sys.argv[1:])
    addresses = {fold(parse_name(name)): address for name, address in given}
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(
        lambda: Names(addresses), ("0.0.0.0", 53), family=socket.AF_INET
    )
    server = await asyncio.start_server(serve_page, "0.0.0.0", 80, backlog=1024)
    print(json.dumps({"names": len(addresses)}), flush=True)
    await server.serve_forever()


asyncio.run(main())
