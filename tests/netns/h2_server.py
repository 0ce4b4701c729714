"""An HTTP/2 server in clear text that answers as gRPC does: headers, data, trailers.

port  ->  for each request its own octets back, then `grpc-status` and who asked in trailers
"""

import asyncio
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection; data is echoed as it comes."""
    machine = H2Connection(H2Configuration(client_side=False))
    machine.initiate_connection()
    peer = writer.get_extra_info("peername")[0].removeprefix("::ffff:")
    try:
        while True:
            writer.write(machine.data_to_send())
            await writer.drain()
            data = await reader.read(65536)
            if not data:
                break
            for event in machine.receive_data(data):
                if isinstance(event, RequestReceived):
                    head = [(":status", "200"), ("content-type", "application/grpc")]
                    machine.send_headers(event.stream_id, head)
                elif isinstance(event, DataReceived):
                    machine.send_data(event.stream_id, event.data)
                    machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    tail = [("grpc-status", "0"), ("peer", peer)]
                    machine.send_headers(event.stream_id, tail, end_stream=True)
    except (ProtocolError, OSError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, None, int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
