"""Look a name up, as one question to one server.

name, server  ->  Lookup
"""

import os
import socket
from pathlib import Path

from cairn.diagnose.why.parts import Lookup
from cairn.dns import Class, Message, Question, Rcode, Type, parse_name, read_message, write_message
from cairn.net import parse_address
from cairn.wire import Malformed

WAIT_S = 1.0
PORT = 53
TYPES = (Type.A, Type.AAAA)


def look_up(name: str, server: str) -> Lookup:
    """Return what a server answers for a name: its IPv4 addresses, else its IPv6 ones."""
    errors = []
    for kind in TYPES:
        try:
            addresses, rcode = _ask(name, server, kind)
        except (OSError, ValueError, Malformed) as error:
            return Lookup(server, (), _spell(error))
        if addresses:
            return Lookup(server, addresses)
        errors.append(_words(rcode))
    return Lookup(server, (), errors[0])


def _words(rcode: int) -> str:
    if rcode == Rcode.NOERROR:
        return "the name has no address"
    if rcode == Rcode.NXDOMAIN:
        return "there is no such name"
    name = Rcode(rcode).name if rcode in set(Rcode) else str(rcode)
    return f"the answer is {name}"


def _ask(name: str, server: str, kind: Type) -> tuple[tuple[str, ...], int]:
    number = int.from_bytes(os.urandom(2), "big")
    question = Question(parse_name(name), kind, Class.IN)
    query = write_message(Message(number, recursion_desired=True, questions=(question,)))
    address = parse_address(server)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT_S)
        sock.connect((server, PORT))
        sock.send(query)
        answer = read_message(sock.recv(4096))
    found = tuple(str(r.data) for r in answer.answers if r.type == kind)
    return found, answer.rcode


def _spell(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {WAIT_S:g} s"
    return (getattr(error, "strerror", None) or str(error)).lower()


def servers_of(resolv_conf: Path) -> list[str]:
    """Return the servers that a resolv.conf names."""
    try:
        lines = resolv_conf.read_text().splitlines()
    except OSError:
        return []
    return [line.split()[1] for line in lines if line.startswith("nameserver ")]


def in_hosts_file(path: Path, name: str) -> tuple[str, ...]:
    """Return the addresses that a hosts file has for a name."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ()
    words = [line.split("#")[0].split() for line in lines]
    return tuple(row[0] for row in words if name in row[1:])
