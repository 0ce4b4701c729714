"""`cairn hubble status`: whether the relay is well, what it holds, which nodes it hears.

ServerStatus, health  ->  lines | JSON | YAML; exit status 0 if it is well, else 1
"""

import argparse
import sys
from typing import Any

from cairn.cli.hubble_reach import add_reach, reach
from cairn.cli.render import FORMS, spell
from cairn.hubble.client import Hubble, NoAnswer
from cairn.hubble.present_json import to_dict

OK, FAILED, USAGE = 0, 1, 2


def main(argv: list[str]) -> int:
    """Show the status; return 0 if the server is well and hears every node."""
    parser = argparse.ArgumentParser(
        prog="cairn hubble status", description="Show how a server of Hubble's API is."
    )
    parser.add_argument("-o", "--output", choices=FORMS, default="table")
    add_reach(parser)
    options = parser.parse_args(argv)
    try:
        with reach(options) as hubble:
            health, status = _health(hubble), hubble.status()
            address = hubble.address
    except NoAnswer as error:
        print(f"cairn hubble status: {error}", file=sys.stderr)
        return USAGE if error.wrong_question else FAILED
    well = health == "SERVING" and not status.unavailable_nodes
    if options.output == "table":
        print("\n".join(status_lines(address, health, status)))
    else:
        plain = {"healthy": well, "health": health, "server": address, **to_dict(status)}
        print(spell(plain, options.output), end="")
    return OK if well else FAILED


def _health(hubble: Hubble) -> str:
    try:
        return hubble.health()
    except NoAnswer as error:
        if error.gone:
            raise
        return str(error)


def status_lines(address: str, health: str, status: Any) -> list[str]:
    """Return what people want to know, as upstream's CLI says it."""
    said = "ok" if health == "SERVING" else health
    share = f" ({100 * status.num_flows / status.max_flows:.2f}%)" if status.max_flows else ""
    lines = [
        f"Healthcheck (via {address}): {said}",
        f"Current/Max Flows: {status.num_flows:,}/{status.max_flows:,}{share}",
        f"Flows/s: {rate(status)}",
    ]
    if status.HasField("num_connected_nodes"):
        connected = status.num_connected_nodes.value
        total = connected + status.num_unavailable_nodes.value
        lines.append(f"Connected Nodes: {connected}/{total}")
    if status.unavailable_nodes:
        lines.append(f"Unavailable Nodes: {len(status.unavailable_nodes)}")
        lines += [f"  - {name}" for name in status.unavailable_nodes]
    return lines


def rate(status: Any) -> str:
    """Return flows per second: now, if the server says so, else since it started."""
    if status.flows_rate:
        return f"{status.flows_rate:.2f}"
    if not status.uptime_ns:
        return "not known"
    return f"{status.seen_flows / (status.uptime_ns / 1e9):.2f}"
