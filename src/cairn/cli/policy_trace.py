"""`cairn policy trace`: what becomes of one connection, by which rule, and what would mend it.

--from, --to, --port  ->  diagnose.policy.trace  ->  both ends' verdicts
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape

from cairn.cli.policy_options import FAILED, OK, add_source, read_world
from cairn.cli.render import make_console, spell
from cairn.diagnose.policy.ends import FORMS, end_ports, find_ends
from cairn.diagnose.policy.essentials import dns_ends
from cairn.diagnose.policy.layer7 import Request, parse_request
from cairn.diagnose.policy.miss import ICMP, ICMPV6, Place
from cairn.diagnose.policy.trace import Side, Trace, trace
from cairn.net import Protocol

PROTOCOLS = {protocol.name.lower(): int(protocol) for protocol in Protocol}


def add(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> Callable[[argparse.Namespace], int]:
    """Add the command's arguments; return what runs it."""
    text = "What becomes of a connection, by which rule, and what would let it pass."
    made = actions.add_parser("trace", help=text, description=text, epilog=f"An end is {FORMS}.")
    made.add_argument("--from", dest="sender", required=True, metavar="END", help="who opens it")
    made.add_argument("--to", dest="receiver", metavar="END", help="who is reached")
    made.add_argument(
        "--port",
        type=place,
        metavar="N[/PROTOCOL]",
        help="tcp if not said; udp, sctp, or icmp and icmpv6 with the type as N",
    )
    made.add_argument("--http", metavar="'METHOD /PATH'", help="a request on the connection")
    made.add_argument(
        "--header", action="append", default=[], metavar="'NAME: VALUE'", help="of the request"
    )
    made.add_argument("--dns", metavar="NAME", help="a query for this name, to the cluster DNS")
    made.add_argument("--server-name", metavar="NAME", help="the name in the TLS greeting")
    add_source(made)
    return lambda options: run(made, options)


def place(text: str) -> Place:
    """Return protocol and port; for argparse."""
    number, _, word = text.partition("/")
    word = word.lower() or "tcp"
    icmp = {"icmp": ICMP, "icmpv4": ICMP, "icmpv6": ICMPV6}
    if word not in PROTOCOLS and word not in icmp:
        known = ", ".join((*PROTOCOLS, "icmp", "icmpv6"))
        raise argparse.ArgumentTypeError(f"{word!r} is no protocol: use one of {known}")
    most = 255 if word in icmp else 65535
    if not number.isascii() or not number.isdecimal() or not int(number[:6]) <= most:
        raise argparse.ArgumentTypeError(f"{number!r} is not 0 to {most}")
    if word in icmp:
        return Place(icmp[word], int(number) << 8)
    return Place(PROTOCOLS[word], int(number))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Trace, print, and return 0 if it passes."""
    if options.dns is None and (options.receiver is None or options.port is None):
        parser.error("give --to and --port, or --dns NAME")
    request = _request(options)
    world = read_world(options)
    at = options.port or Place(int(Protocol.UDP), 53)
    if options.receiver:
        receivers = find_ends(world, options.receiver)
        places = [end_ports(world, options.receiver, at, end) for end in receivers]
    else:
        receivers = dns_ends(world)
        places = [at] * len(receivers)
    traces = [
        trace(world, sender, receiver, where, request)
        for sender in find_ends(world, options.sender)
        for receiver, where in zip(receivers, places, strict=True)
    ]
    if options.output == "table":
        console = make_console()
        for found in traces:
            _show(console, found)
    else:
        print(spell([asdict(found) for found in traces], options.output), end="")
    return OK if all(found.allowed for found in traces) else FAILED


def _request(options: argparse.Namespace) -> Request:
    headers = {}
    for line in options.header:
        name, _, value = line.partition(":")
        headers[name.strip()] = value.strip()
    if options.http:
        return parse_request(options.http, headers)
    return Request(
        dns=(options.dns or "").rstrip(".").lower(), server_name=options.server_name or ""
    )


def _show(console: Console, found: Trace) -> None:
    word = "[bold green]passes[/]" if found.allowed else "[bold red]does not pass[/]"
    line = f"{found.sender} -> {found.receiver}, {found.at}"
    console.print(f"[bold]{escape(line)}[/]: {word}", highlight=False)
    for side in found.sides:
        _show_side(console, side)


def _show_side(console: Console, side: Side) -> None:
    colour = "green" if side.allowed else "red"
    console.print(
        f"  {side.direction} of {escape(side.subject)}: [{colour}]{side.verdict}[/]",
        highlight=False,
    )
    console.print(f"    {escape(side.why)}", highlight=False, soft_wrap=True)
    if side.mend:
        console.print(f"    → {escape(side.mend)}", highlight=False, soft_wrap=True)
    if side.audit:
        console.print(f"    [yellow]{escape(side.audit)}[/]", highlight=False, soft_wrap=True)
    for line in side.snippet.splitlines():
        console.print(f"    [dim]|[/] {escape(line)}", highlight=False, soft_wrap=True)
