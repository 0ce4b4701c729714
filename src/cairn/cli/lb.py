"""`cairn lb list|backends|connections|maglev`: what the nodes' load balancers do.

    arguments  ->  the agents' answers (cli.lb_cluster), or this node's maps (cli.lb_node)
               ->  table | JSON | YAML

Invariants  Exit status 0: it holds; 1: a node did not answer, the nodes differ, or there is no
            such frontend; 2: wrong usage.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape

from cairn.cli.lb_cluster import ClusterView, NoAgent
from cairn.cli.lb_node import NoMaps, PinnedMaps
from cairn.cli.lb_show import View, compile_view
from cairn.cli.render import FORMS, make_console, show_table, spell
from cairn.diagnose.lb_merge import Names
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess
from cairn.net import Address, parse_address
from cairn.observe.connection_rows import Filter
from cairn.observe.lb_rows import HERE, TableRow

OK, FAILED = 0, 1
PINS = Path("/sys/fs/bpf/cairn")
LIMIT = 200


@dataclass(frozen=True, slots=True)
class Place:
    """An address, and a port if one was given."""

    address: Address
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return str(self.address) if self.port is None else f"{host}:{self.port}"


def main(argv: list[str]) -> int:
    """Run one command; return its exit status."""
    options = parser().parse_args(argv)
    if options.action == "maglev" and options.client and options.client.port is None:
        parser().error("--client: give the port, too: ADDRESS:PORT")
    try:
        if options.local:
            return _local(options)
        return asyncio.run(_cluster(options))
    except (ApiError, NoAccess, NoAgent, NoMaps) as error:
        print(f"cairn lb: {error}", file=sys.stderr)
        return FAILED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    top = argparse.ArgumentParser(
        prog="cairn lb", description="Show what the nodes' load balancers hold and do."
    )
    actions = top.add_subparsers(dest="action", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text)
        made.add_argument("-o", "--output", choices=FORMS, default="table")
        made.add_argument("--node", metavar="NAME", help="ask this node only")
        made.add_argument("--local", action="store_true", help="read this machine's own maps")
        made.add_argument("--bpf", type=Path, default=PINS, help="where they are pinned")
        made.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
        return made

    add("list", "Addresses and ports that are served, and how many backends stand behind each.")
    add("backends", "Backends with their state and what they did, summed over the nodes.")
    made = add("connections", "Connections that the nodes know, the most recent first.")
    made.add_argument("--vip", type=parse_address, metavar="ADDRESS", help="to this address")
    made.add_argument("--client", type=parse_address, metavar="ADDRESS", help="of this client")
    made.add_argument("--backend", type=parse_address, metavar="ADDRESS", help="at this backend")
    made.add_argument("--limit", type=_count, default=LIMIT, metavar="N",
                      help="rows per node; 0 for all (default: %(default)s)")  # fmt: skip
    made = add("maglev", "How an address shares its connections among backends.")
    made.add_argument("place", type=_place, metavar="VIP[:PORT]")
    made.add_argument(
        "--all", action="store_true", help="compare all nodes; status 1 if they differ"
    )
    made.add_argument("--client", type=_place, metavar="ADDRESS:PORT",
                      help="say which backend this client gets")  # fmt: skip
    return top


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _place(text: str) -> Place:
    """Return an address with or without a port; IPv6 with a port stands in brackets."""
    try:
        return Place(parse_address(text.strip("[]")), None)
    except ValueError:
        host, _, port = text.rpartition(":")
        try:
            number = int(port)
            place = Place(parse_address(host.strip("[]")), number)
        except ValueError:
            number = -1
        if not 0 <= number < 1 << 16:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no ADDRESS or ADDRESS:PORT (IPv6: [ADDRESS]:PORT)"
            ) from None
        return place


def _local(options: argparse.Namespace) -> int:
    with PinnedMaps(options.bpf) as maps:
        answer = READ[options.action](maps, options)
    if options.output != "table":
        print(spell(answer, options.output), end="")
        return OK
    view = compile_view(options.action, {HERE: msgspec.to_builtins(answer)}, Names({}, {}))
    return _print(options, view, [])


async def _cluster(options: argparse.Namespace) -> int:
    async with ClusterView.client(options.kubeconfig) as client:
        cluster = ClusterView(client)
        one = options.action == "maglev" and not options.all
        asked, names = await asyncio.gather(
            cluster.ask(_words(options), options.node, one=one), cluster.names()
        )
    view = compile_view(options.action, asked.by_node, names)
    return _print(options, view, asked.failed)


def _print(options: argparse.Namespace, view: View, failed: list[str]) -> int:
    wrong = [*failed, *view.wrong]
    if options.action == "maglev" and not view.rows and not failed:
        wrong.append(f"no frontend {options.place} with a table: cairn lb list shows what there is")
    if options.output == "table":
        # An IPv6 address in brackets is no markup.
        rows = [tuple(map(escape, row)) for row in view.rows]
        show_table(make_console(), view.title, view.columns, rows)
        for line in view.notes:
            print(line)
    else:
        print(spell(view.plain, options.output), end="")
    for line in wrong:
        print(f"cairn lb: {line}", file=sys.stderr)
    return FAILED if wrong else OK


def _filter(options: argparse.Namespace) -> Filter:
    return Filter(options.vip, options.client, options.backend)


def _tables(maps: PinnedMaps, options: argparse.Namespace) -> list[TableRow]:
    client = options.client
    asked = (client.address, client.port) if client else None
    return maps.tables(options.place.address, options.place.port, asked)


READ: dict[str, Callable[[PinnedMaps, argparse.Namespace], Any]] = {
    "list": lambda maps, _: maps.frontends(),
    "backends": lambda maps, _: maps.backends(),
    "connections": lambda maps, options: maps.connections(_filter(options), options.limit or None),
    "maglev": _tables,
}
"""How each command reads this machine's maps."""


def _words(options: argparse.Namespace) -> list[str]:
    """Return the command as an agent's container is to run it."""
    words = [options.action]
    if options.action == "maglev":
        words.append(str(options.place))
    for name in ("vip", "client", "backend", "limit"):
        value = getattr(options, name, None)
        if value is not None:
            words.append(f"--{name}={value}")
    return words
