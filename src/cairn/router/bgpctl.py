"""`cairn bgpctl`: OpenBGPD's views of whatever routing daemon the router runs.

    show summary | neighbor [ADDRESS] | rib [PREFIX] | fib | counters  ->  table, JSON or YAML

The source of the rows is the socket of `cairn router` ($CAIRN_ROUTER_SOCKET), or, with --daemon,
the tools of another daemon: `frr:DIRECTORY` or `bird:DIRECTORY`.
"""

import argparse
import os
import socket
import sys
from collections.abc import Iterable
from typing import Any

import msgspec
import yaml

from cairn.net import parse_address, parse_network
from cairn.router.foreign_views import ForeignFailed, read_foreign
from cairn.router.tables import (
    counter_lines,
    fib_lines,
    neighbor_detail_lines,
    neighbor_lines,
    rib_lines,
)
from cairn.router.views import (
    NeighborRow,
    PathRow,
    Views,
    fib_json,
    load_views,
    neighbors_json,
    rib_json,
)

DEFAULT_SOCKET = "/run/cairn/router.sock"
ANSWER_TIMEOUT_S = 5.0


class Unanswered(RuntimeError):
    """No router answered; the text says where and what to do."""


def main(argv: list[str]) -> int:
    """Print one view; return 0, 1 if the router does not answer, 2 on wrong usage."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.what is not None and options.view not in ("neighbor", "neighbors", "rib"):
        parser.error(f"show {options.view} takes no {options.what!r}")
    try:
        source = options.daemon
        views = read_foreign(source) if source else ask(options.socket)
        output = _render(views, options)
    except (Unanswered, ForeignFailed, LookupError) as error:
        sys.stderr.write(f"bgpctl: {error}\n")
        return 1
    except ValueError as error:
        sys.stderr.write(f"bgpctl: {error}\n")
        return 2
    sys.stdout.write(output)
    return 0


def ask(path: str) -> Views:
    """Return the views of the router that listens on the socket `path`."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(path)
            connection.sendall(b'{"get":"views"}\n')
            with connection.makefile("rb") as answer:
                return load_views(answer.readline())
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unanswered(f"no router answers on {path} ({reason}): is it running?") from error
    except msgspec.DecodeError as error:
        raise Unanswered(f"{path} gave an answer that is not a router's: {error}") from error


def _render(views: Views, options: argparse.Namespace) -> str:
    match options.view:
        case "summary":
            return _text_or_json(options, neighbors_json(views), neighbor_lines(views.neighbors))
        case "neighbor" | "neighbors":
            return _render_neighbor(views, options)
        case "rib":
            paths = _paths(views, options.what)
            return _text_or_json(options, rib_json(paths), rib_lines(paths))
        case "counters":
            return _text_or_json(options, views.counters, counter_lines(views))
        case _:
            return _text_or_json(options, fib_json(views), fib_lines(views))


def _render_neighbor(views: Views, options: argparse.Namespace) -> str:
    if options.what is None:
        return _text_or_json(options, neighbors_json(views), neighbor_lines(views.neighbors))
    row = _neighbor(views, options.what)
    narrowed = Views(views.router_id, views.asn, neighbors=(row,))
    return _text_or_json(options, neighbors_json(narrowed), neighbor_detail_lines(row))


def _neighbor(views: Views, what: str) -> NeighborRow:
    for row in views.neighbors:
        if what in (row.address, row.description):
            return row
    known = ", ".join(row.address for row in views.neighbors) or "none"
    raise LookupError(f"no neighbor {what}; there are: {known}")


def _paths(views: Views, what: str | None) -> tuple[PathRow, ...]:
    """Return the paths of the prefix that was asked for, or that hold the address."""
    if what is None:
        return views.paths
    if "/" in what:
        prefix = str(parse_network(what))
        return tuple(row for row in views.paths if row.prefix == prefix)
    address = parse_address(what)
    holding = [row for row in views.paths if address in parse_network(row.prefix)]
    longest = max((parse_network(row.prefix).prefixlen for row in holding), default=0)
    return tuple(row for row in holding if parse_network(row.prefix).prefixlen == longest)


def _text_or_json(options: argparse.Namespace, plain: Any, lines: Iterable[str]) -> str:
    match options.output:
        case "json":
            return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n"
        case "yaml":
            return str(yaml.safe_dump(msgspec.to_builtins(plain), sort_keys=False))
    return "".join(f"{line}\n" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bgpctl", description="Show what the router knows.")
    _add_form(parser, "table")
    parser.add_argument(
        "-s",
        "--socket",
        default=os.environ.get("CAIRN_ROUTER_SOCKET", DEFAULT_SOCKET),
        help="socket of cairn router (default: $CAIRN_ROUTER_SOCKET, else %(default)s)",
    )
    parser.add_argument(
        "--daemon",
        metavar="KIND:DIRECTORY",
        default=os.environ.get("CAIRN_ROUTER_DAEMON"),
        help="read from frr or bird instead",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    show = verbs.add_parser("show", help="print a table")
    show.add_argument(
        "view", choices=("summary", "neighbor", "neighbors", "rib", "fib", "counters")
    )
    show.add_argument("what", nargs="?", help="a neighbor's address, or a prefix of the RIB")
    _add_form(show, argparse.SUPPRESS)
    return parser


def _add_form(parser: argparse.ArgumentParser, default: str) -> None:
    """Add -o, and -j as OpenBGPD's own tool has it; both stand before or after `show`."""
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default=default)
    parser.add_argument(
        "-j", dest="output", action="store_const", const="json", default=default, help="-o json"
    )
