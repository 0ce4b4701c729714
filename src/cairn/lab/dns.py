"""`cairn lab dns`: the cluster's name server.

    DNS queries over UDP and TCP  ->  the cluster's names, or another server's answer

Invariants  Every query gets an answer or a reason: what is refused, dropped or failed is counted
            and can be asked for (`dig CH TXT counters.cairn`).
Standards   RFC 1035 s4.2, RFC 7766 (TCP), RFC 6891 (EDNS)
Not here    The names (dns_zone.py), the octets (cairn.dns).
"""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from cairn.dns import Class, Edns, Message, Opcode, Question, Rcode, Record, Type
from cairn.dns.message import HEADER_OCTETS, read_message, udp_limit, write_message
from cairn.dns.name import fold, parse_name, spell_name
from cairn.drive.daemon import run_daemon
from cairn.drive.informer import Informer
from cairn.drive.kube_client import Client
from cairn.kube.endpoint_slice import SERVICE_NAME
from cairn.kube.metadata import Key
from cairn.kube.resource import ENDPOINT_SLICES, SERVICES
from cairn.lab.dns_forward import Forwarder, NoAnswer
from cairn.lab.dns_zone import Zone, reverse_name
from cairn.net import Address, parse_address

OUR_UDP_OCTETS = 1232
"""What passes every path unfragmented (DNS flag day 2020)."""
TCP_IDLE_S = 10.0
MOST_TCP_OCTETS = 65535
COUNTERS = parse_name("counters.cairn")

log = logging.getLogger(__name__)


class NameServer:
    """Answers queries; knows nothing of sockets."""

    def __init__(self, zone: Zone, forwarder: Forwarder) -> None:
        self.counters: Counter[str] = Counter()
        """How many queries ended how."""
        self.ready = False
        """Whether the zone is complete; until then its names fail."""
        self._zone = zone
        self._forwarder = forwarder

    async def reply(self, octets: bytes, *, over_tcp: bool) -> bytes | None:
        """Return the answer to a query; None if there is nobody to answer."""
        try:
            query = read_message(octets)
        except ValueError:
            return self._malformed(octets)
        if query.response:
            self._count("dropped: not a query")
            return None
        answer = await self._answer(query, octets, over_tcp=over_tcp)
        if isinstance(answer, bytes):
            return answer
        limit = MOST_TCP_OCTETS if over_tcp else udp_limit(query, OUR_UDP_OCTETS)
        return write_message(answer, limit=limit)

    async def _answer(self, query: Message, octets: bytes, *, over_tcp: bool) -> Message | bytes:
        if query.opcode != Opcode.QUERY:
            return self._outcome(query, Rcode.NOTIMP, "not implemented: opcode")
        if len(query.questions) != 1:
            return self._outcome(query, Rcode.FORMERR, "malformed: not one question")
        if query.edns and query.edns.version:
            return self._outcome(query, Rcode.BADVERS, "refused: EDNS version")
        question = query.questions[0]
        if question.klass == Class.CH:
            return self._chaos(query, question)
        if question.klass != Class.IN:
            return self._outcome(query, Rcode.REFUSED, "refused: class")
        if self._zone.holds(question.name):
            return await self._from_zone(query, question)
        try:
            answer = await self._forwarder.ask(octets, over_tcp=over_tcp)
        except NoAnswer as error:
            return self._outcome(query, error.rcode, error.reason)
        self._count("forwarded")
        return answer

    async def _from_zone(self, query: Message, question: Question) -> Message:
        if not self.ready:
            return self._outcome(query, Rcode.SERVFAIL, "failed: the API server was not heard yet")
        found = self._zone.answer(question)
        records = list(found.records)
        if found.alias is not None:
            records += await self._chase(found.alias, question.type)
        negative = not records or found.rcode != Rcode.NOERROR
        self._count("answered: " + ("no such name or type" if negative else "cluster name"))
        return replace(
            self._response(query, found.rcode),
            authoritative=True,
            answers=tuple(records),
            authorities=(self._zone.soa(),) if negative else (),
        )

    async def _chase(self, name: tuple[bytes, ...], number: int) -> tuple[Record, ...]:
        """Return what the outer server says of an ExternalName's target."""
        asked = Message(
            id=int.from_bytes(os.urandom(2), "big"),
            recursion_desired=True,
            questions=(Question(name, number),),
        )
        try:
            return read_message(
                await self._forwarder.ask(write_message(asked), over_tcp=True)
            ).answers
        except (NoAnswer, ValueError):
            self._count("failed: target of an ExternalName")
            return ()

    def _chaos(self, query: Message, question: Question) -> Message:
        if fold(question.name) != COUNTERS or question.type not in (Type.TXT, Type.ANY):
            return self._outcome(query, Rcode.REFUSED, "refused: class")
        texts = [f"{reason}={count}".encode() for reason, count in sorted(self.counters.items())]
        records = tuple(
            Record(question.name, Type.TXT, Class.CH, 0, bytes([len(text)]) + text)
            for text in texts
        )
        return replace(self._response(query, Rcode.NOERROR), answers=records)

    def _outcome(self, query: Message, rcode: Rcode, reason: str) -> Message:
        if not self.counters[reason]:
            asked = ", ".join(spell_name(question.name) for question in query.questions)
            log.warning("%s (first seen for %s)", reason, asked or "no question")
        self._count(reason)
        return self._response(query, rcode)

    def _response(self, query: Message, rcode: Rcode) -> Message:
        return Message(
            id=query.id,
            response=True,
            opcode=query.opcode,
            recursion_desired=query.recursion_desired,
            recursion_available=True,
            rcode=rcode,
            questions=query.questions,
            edns=Edns(OUR_UDP_OCTETS) if query.edns else None,
        )

    def _malformed(self, octets: bytes) -> bytes | None:
        self._count("malformed: cannot be read")
        if len(octets) < HEADER_OCTETS or octets[2] & 0x80:
            return None
        number = int.from_bytes(octets[:2], "big")
        return write_message(Message(id=number, response=True, rcode=Rcode.FORMERR))

    def _count(self, reason: str) -> None:
        self.counters[reason] += 1


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # CPython's own datagram transport is no subclass of the abstract one before 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.ensure_future(self._serve(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, data: bytes, addr: Any) -> None:
        answer = await self._server.reply(data, over_tcp=False)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


async def _serve_stream(
    server: NameServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        while True:
            async with asyncio.timeout(TCP_IDLE_S):
                length = int.from_bytes(await reader.readexactly(2), "big")
                octets = await reader.readexactly(length)
            answer = await server.reply(octets, over_tcp=True)
            if answer is None:
                return
            writer.write(len(answer).to_bytes(2, "big") + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, TimeoutError, OSError):
        return  # the client went or fell silent: nobody waits for an answer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def main(argv: list[str]) -> int:
    """Serve until SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(prog="cairn lab dns", description="Name server of a cluster.")
    parser.add_argument("--kubeconfig", help="file (default: $KUBECONFIG, or the pod's account)")
    parser.add_argument(
        "--listen", default="[::]:53", help="ADDRESS:PORT; the address :: stands for both families"
    )
    parser.add_argument("--domain", default="cluster.local")
    parser.add_argument("--upstream", action="append", help="server for other names (repeatable)")
    parser.add_argument("--verbose", action="store_true", help="log details")
    args = parser.parse_args(argv)
    try:
        host, _, port = args.listen.rpartition(":")
        listen = (str(parse_address(host.strip("[]"))), int(port))
        given = [parse_address(text) for text in args.upstream or ()]
    except ValueError as error:
        parser.error(f"--listen ADDRESS:PORT and --upstream ADDRESS: {error}")
    upstreams = given or nameservers(Path("/etc/resolv.conf"))
    run = _run(args.kubeconfig, listen, args.domain, upstreams)
    return run_daemon("cairn lab dns", run, verbose=args.verbose)


async def _run(
    kubeconfig: str | None, listen: tuple[str, int], domain: str, upstreams: list[Address]
) -> None:
    zone = Zone(domain)
    forwarder = Forwarder(upstreams, is_ours=lambda a: zone.holds(reverse_name(a)))
    server = NameServer(zone, forwarder)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve_stream(server, reader, writer)

    def service_changed(key: Key, old: Any, new: Any) -> None:
        zone.put_service(key, new)

    def slice_changed(key: Key, old: Any, new: Any) -> None:
        labels = (new or old)["metadata"].get("labels") or {}
        if service := labels.get(SERVICE_NAME):
            zone.put_slice(Key(key.namespace, service), key.name, new)

    loop = asyncio.get_running_loop()
    datagrams, stream = _listening(*listen)
    await loop.create_datagram_endpoint(lambda: _Datagrams(server), sock=datagrams)
    stream_server = await asyncio.start_server(serve, sock=stream)
    async with Client.connect(kubeconfig) as client, asyncio.TaskGroup() as group:
        services = Informer(client, SERVICES, on_change=service_changed)
        slices = Informer(client, ENDPOINT_SLICES, on_change=slice_changed)
        group.create_task(services.run())
        group.create_task(slices.run())
        group.create_task(stream_server.serve_forever())
        await services.synced.wait()
        await slices.synced.wait()
        server.ready = True
        outer = ", ".join(map(str, upstreams)) or "nobody"
        log.info("serving %s at %s port %d; other names from %s", domain, *listen, outer)


def _listening(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a TCP socket at an address; asyncio itself never makes one for both
    families."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::"
    stream = socket.create_server((host, port), family=family, dualstack_ipv6=both)
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    datagrams.bind((host, port))
    datagrams.setblocking(False)
    stream.setblocking(False)
    return datagrams, stream


def nameservers(path: Path) -> list[Address]:
    """Return the servers that a resolv.conf names; none if it cannot be read."""
    found: list[Address] = []
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            with contextlib.suppress(ValueError):
                found.append(parse_address(words[1]))
    return found
