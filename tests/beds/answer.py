"""A server for tests that says who it is and who asks, over TCP and UDP, IPv4 and IPv6.

    answer.py NAME PORT...

A TCP connection gets one line and stays open: each line it sends is answered by the same. A
datagram is answered by one line, followed by as many octets as the datagram asked for ("pad=N").
"""

import asyncio
import re
import socket
import sys


def line_of(name: str, peer: tuple[str, int]) -> bytes:
    """Return the answer to `peer`."""
    return f"{name} {peer[0].removeprefix('::ffff:')} {peer[1]}\n".encode()


class Datagrams(asyncio.DatagramProtocol):
    """Answers datagrams."""

    def __init__(self, name: str) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one datagram."""
        wanted = re.match(rb"pad=(\d+)", data)
        padding = b"." * int(wanted[1]) if wanted else b""
        self._transport.sendto(line_of(self._name, addr[:2]) + padding, addr)  # type: ignore[attr-defined]


async def main() -> None:
    """Serve until ended."""
    name, *ports = sys.argv[1:]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[:2]
        try:
            writer.write(line_of(name, peer))
            while await reader.readline():
                writer.write(line_of(name, peer))
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    loop = asyncio.get_running_loop()
    for port in map(int, ports):
        sock = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
        )
        await asyncio.start_server(serve, sock=sock)
        datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        datagrams.bind(("::", port))
        await loop.create_datagram_endpoint(lambda: Datagrams(name), sock=datagrams)
    await asyncio.Event().wait()


asyncio.run(main())
