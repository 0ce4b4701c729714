"""What connections to the BGP port of peers without a session come to.

    SpeakerFact  ->  the same, each such session with its `port_answer`

A speaker's last error tells of its last attempt, or of how a session ended; this tells of now.

Cost        a round trip; PATIENCE_S where somebody does not answer
"""

import errno
import os
import select
import socket
import time
from collections.abc import Iterable

import msgspec

from cairn.diagnose.process_facts import SpeakerFact

PATIENCE_S = 0.6
PORT = 179
ESTABLISHED = "established"


def with_port_answers(speaker: SpeakerFact) -> SpeakerFact:
    """Return what the speaker says, and what its peers' ports say where it has no session."""
    told = ask_ports({one.peer for one in speaker.sessions if one.state != ESTABLISHED})
    sessions = (
        msgspec.structs.replace(one, port_answer=told.get(one.peer, "")) for one in speaker.sessions
    )
    return msgspec.structs.replace(speaker, sessions=tuple(sessions))


def ask_ports(addresses: Iterable[str], port: int = PORT) -> dict[str, str]:
    """Return connected, refused, no answer or the error of a TCP connection to each address."""
    told: dict[str, str] = {}
    waiting: dict[int, tuple[socket.socket, str]] = {}
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        code = one.connect_ex((address, port))
        if code in (0, errno.EINPROGRESS):
            waiting[one.fileno()] = one, address
        else:
            told[address] = _words(code)
            one.close()
    until = time.monotonic() + PATIENCE_S
    while waiting and (left := until - time.monotonic()) > 0:
        for number in select.select((), list(waiting), (), left)[1]:
            one, address = waiting.pop(number)
            told[address] = _words(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            one.close()
    for one, address in waiting.values():
        told[address] = "no answer"
        one.close()
    return told


def _words(code: int) -> str:
    return {0: "connected", errno.ECONNREFUSED: "refused"}.get(code, os.strerror(code).lower())
