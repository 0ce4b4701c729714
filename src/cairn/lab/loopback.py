"""The API server's door on the machine's own loopback: find a port, listen.

    first port to try  ->  a free port;  port  ->  listening socket

Invariants  A lab keeps its port while it is up: it is in the lab's record.
"""

import socket

from cairn.lab.state import LabError

LOOPBACK = "127.0.0.1"
FIRST_PORT = 16443
_TRIES = 64
_BACKLOG = 512


def free_port(taken: set[int]) -> int:
    """Return the first port from 16443 up that is free now and not promised to another lab."""
    for port in range(FIRST_PORT, FIRST_PORT + _TRIES):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise LabError(
        f"no free port on {LOOPBACK} from {FIRST_PORT} to {FIRST_PORT + _TRIES - 1}; "
        "see who holds them: ss -ltnp"
    )


def listen_on_loopback(port: int) -> int:
    """Return a listening socket's file descriptor; raises LabError if the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise LabError(
            f"{LOOPBACK}:{port}: {error.strerror}; see who holds it: ss -ltnp 'sport = {port}'"
        ) from None
    return listener.detach()
