"""HTTP/2 in clear text for the lab's web server.

    octets after the preface's head  ->  respond(...)  ->  octets

Standards   RFC 9113, with prior knowledge (s3.3)
"""

import asyncio
from collections.abc import Awaitable, Callable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, RequestReceived
from h2.exceptions import ProtocolError

from cairn.lab.images.web_answer import Answer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CHUNK_BYTES = 65536

Respond = Callable[[str, str, dict[str, str], tuple[str, int], str], Awaitable[Answer]]


async def serve_http2(
    respond: Respond,
    head: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Serve one connection whose first octets, `head`, were read already."""
    machine = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    machine.initiate_connection()
    peer = writer.get_extra_info("peername")[:2]
    tasks: set[asyncio.Task[None]] = set()
    data = head
    try:
        while data:
            for event in machine.receive_data(data):
                if isinstance(event, RequestReceived):
                    task = asyncio.create_task(_answer(machine, respond, event, peer, writer))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                elif isinstance(event, ConnectionTerminated):
                    return
            writer.write(machine.data_to_send())
            await writer.drain()
            data = await reader.read(CHUNK_BYTES)
    except ProtocolError:
        writer.write(machine.data_to_send())
    finally:
        if tasks:
            await asyncio.wait(tasks)


async def _answer(
    machine: H2Connection,
    respond: Respond,
    event: RequestReceived,
    peer: tuple[str, int],
    writer: asyncio.StreamWriter,
) -> None:
    stream = event.stream_id
    headers = {str(name): str(value) for name, value in event.headers or ()}
    if stream is None:
        return
    found = await respond(headers[":method"], headers[":path"], headers, peer, "HTTP/2")
    try:
        machine.send_headers(
            stream,
            [
                (":status", str(found.status)),
                ("content-type", found.content_type),
                ("content-length", str(len(found.body))),
                ("server", "cairn-lab-web"),
            ],
        )
        # Answers are smaller than any flow-control window that a peer may begin with.
        machine.send_data(stream, found.body, end_stream=True)
        writer.write(machine.data_to_send())
        await writer.drain()
    except (ProtocolError, OSError):
        return  # the client gave the stream or the connection up
