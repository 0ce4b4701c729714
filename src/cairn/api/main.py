"""`cairn api`: the embedded Kubernetes API server.

    --data DIR --pki DIR --listen ADDR:PORT  ->  a server, until SIGTERM

Not here    What it answers (cairn.apiserver.serve).
"""

import argparse
import asyncio
import logging
import secrets
import signal
import socket
import ssl
import sys
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from cairn.api.bootstrap import bootstrap
from cairn.api.committer import Committer
from cairn.api.connection import Front
from cairn.api.database import Database, DatabaseError
from cairn.api.pki import Pki, PkiError, ensure_pki
from cairn.api.relay import Relay
from cairn.api.token import load_key
from cairn.api.upkeep import Upkeep
from cairn.apiserver.allocation import Allocations
from cairn.apiserver.builtin import BUILTIN
from cairn.apiserver.environment import Environment
from cairn.apiserver.http import HEAD_LIMIT_BYTES
from cairn.apiserver.serve import Server, registry_of
from cairn.apiserver.status import Refused
from cairn.apiserver.store import Store
from cairn.drive.daemon import collect_seldom

LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Of generated names: no vowels, so that they make no words."""
BACKLOG = 512
HANDSHAKE_S = 10.0


class Unusable(Exception):
    """The server cannot start; the text says what, where and what to do."""


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="cairn api: %(message)s")
    collect_seldom()
    try:
        asyncio.run(_run(arguments))
    except (Unusable, PkiError, DatabaseError) as error:
        sys.stderr.write(f"cairn api: {error}\n")
        return 1
    except Refused as refused:
        sys.stderr.write(f"cairn api: cannot store the first objects: {refused.message}\n")
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"cairn api: {where}{error.strerror or error}\n")
        return 1
    except Exception as error:  # A fault of ours: the supervisor's log needs one line, too.
        sys.stderr.write(f"cairn api: internal error: {type(error).__name__}: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("cairn api", description="The embedded Kubernetes API server.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the database")
    parser.add_argument("--pki", type=Path, help="folder of the certificates (default: DATA/pki)")
    parser.add_argument("--listen", action="append", default=[], metavar="ADDR:PORT")
    parser.add_argument("--listen-fd", action="append", type=int, default=[], metavar="N",
                        help="a listening socket that the parent process has opened")  # fmt: skip
    parser.add_argument("--advertise", metavar="ADDR:PORT", help="where pods reach this server")
    parser.add_argument("--service-cidr", action="append", metavar="CIDR",
                        help="range of cluster IPs (default: 10.96.0.0/16)")  # fmt: skip
    return parser


async def _run(arguments: argparse.Namespace) -> None:
    sockets = _listeners(arguments.listen, arguments.listen_fd)
    advertise = _advertised(arguments.advertise, sockets)
    ranges = _ranges(arguments.service_cidr or ["10.96.0.0/16"])
    keys = arguments.pki or arguments.data / "pki"
    try:
        pki = ensure_pki(keys, sans=[advertise[0]])
    except OSError as error:
        text = f"{keys}: {error.strerror}: it must be a folder that can be written, with some space"
        raise Unusable(text) from error
    database = Database(arguments.data / "state.db")
    try:
        await _serve(database, pki, sockets, advertise, Allocations(ranges), ranges)
    finally:
        database.close()


async def _serve(
    database: Database,
    pki: Pki,
    sockets: list[socket.socket],
    advertise: tuple[str, int],
    allocations: Allocations,
    ranges: dict[str, IPv4Network | IPv6Network],
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = Store()
    store.load(database.objects(), database.revision())
    server = Server(store, _environment(), allocations, registry_of(BUILTIN))
    upkeep = Upkeep(server)
    committer = Committer(server, database, upkeep.observe)
    tasks = [asyncio.create_task(committer.run())]
    service_ip = str(next(iter(ranges.values()))[1])
    await bootstrap(server, committer, advertise, service_ip)
    tasks += [
        asyncio.create_task(upkeep.collect(committer)),
        asyncio.create_task(upkeep.expire_events(committer)),
    ]
    key = load_key(pki.directory / "sa.key")
    front = Front(server, committer, token_key=key, relay=Relay(pki))
    context = _tls(pki)
    listeners = [
        await asyncio.start_server(
            front.serve,
            sock=sock,
            ssl=context,
            limit=HEAD_LIMIT_BYTES,
            backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_S,
        )
        for sock in sockets
    ]
    where = ", ".join("{}:{}".format(*sock.getsockname()[:2]) for sock in sockets)
    sys.stderr.write(f"cairn api: serving on {where}, revision {store.revision}\n")
    sys.stderr.flush()
    await _until_ended(stop, tasks)
    for listener in listeners:
        listener.close()


async def _until_ended(stop: asyncio.Event, tasks: list["asyncio.Task[None]"]) -> None:
    """Wait for `stop`; a task that ends before is a fault and ends the server."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, stopped):
        task.cancel()
    for ended in done - {stopped}:
        if error := ended.exception():
            raise error
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


def _environment() -> Environment:
    def suffix() -> str:
        return "".join(secrets.choice(LETTERS) for _ in range(5))

    return Environment(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()), suffix)


def _tls(pki: Pki) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca_cert))
    context.load_cert_chain(*map(str, pki.server))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def _listeners(addresses: list[str], descriptors: list[int]) -> list[socket.socket]:
    if not addresses and not descriptors:
        addresses = ["127.0.0.1:6443"]
    found = []
    for number in descriptors:
        try:
            found.append(socket.socket(fileno=number))
        except OSError as error:
            raise Unusable(
                f"--listen-fd {number}: not an open socket ({error.strerror})"
            ) from error
    for text in addresses:
        address, port = _endpoint(text, "--listen")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        # asyncio sends small pieces at once only where the socket says that it is TCP: a watcher
        # would hear of the second of two changes 40 ms late.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
        except OSError as error:
            raise Unusable(
                f"cannot listen on {text} ({error.strerror}): stop what uses it (ss -ltnp), or "
                "give another --listen"
            ) from error
        found.append(sock)
    return found


def _advertised(text: str | None, sockets: list[socket.socket]) -> tuple[str, int]:
    if text:
        return _endpoint(text, "--advertise")
    address, port = sockets[-1].getsockname()[:2]
    return ("127.0.0.1" if address in ("0.0.0.0", "::") else address), port  # noqa: S104


def _endpoint(text: str, option: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    try:
        number = int(port)
        if not 0 <= number < 65536:
            raise ValueError
        return str(ip_address(address.strip("[]"))), number
    except ValueError as error:
        raise Unusable(f"{option} {text}: expected ADDRESS:PORT, as in 127.0.0.1:6443") from error


def _ranges(texts: list[str]) -> dict[str, IPv4Network | IPv6Network]:
    try:
        networks = [ip_network(text) for text in texts]
    except ValueError as error:
        raise Unusable(f"--service-cidr: {error}") from error
    return {f"IPv{network.version}": network for network in networks}
