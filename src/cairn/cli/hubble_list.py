"""`cairn hubble list nodes|namespaces`: where flows come from.

GetNodes | GetNamespaces  ->  table | wide table | JSON | YAML
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from cairn.cli.hubble_reach import add_reach, reach
from cairn.cli.render import spell
from cairn.hubble.client import NoAnswer
from cairn.hubble.present_grid import Grid
from cairn.hubble.present_json import to_dict
from cairn.hubble.present_words import enum_name

OK, FAILED, USAGE = 0, 1, 2
FORMS = ("table", "wide", "json", "yaml")
STATES = {
    "NODE_CONNECTED": "Connected",
    "NODE_UNAVAILABLE": "Unavailable",
    "NODE_GONE": "Gone",
    "NODE_ERROR": "Error",
}


def main(argv: list[str]) -> int:
    """List nodes or namespaces; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="cairn hubble list", description="List where the flows of a server come from."
    )
    parser.add_argument("what", choices=("nodes", "namespaces"), metavar="nodes|namespaces")
    parser.add_argument("-o", "--output", choices=FORMS, default="table")
    add_reach(parser)
    options = parser.parse_args(argv)
    try:
        with reach(options) as hubble:
            answer = hubble.nodes() if options.what == "nodes" else hubble.namespaces()
    except NoAnswer as error:
        print(f"cairn hubble list: {error}", file=sys.stderr)
        return USAGE if error.wrong_question else FAILED
    found = answer.nodes if options.what == "nodes" else answer.namespaces
    if options.output in ("json", "yaml"):
        print(spell([to_dict(one) for one in found], options.output), end="")
        return OK
    view = _nodes if options.what == "nodes" else _namespaces
    header, rows = view(found, wide=options.output == "wide")
    print("\n".join(Grid(header, [0] * (len(header) - 1)).lines(rows) or ["none"]))
    return OK


View = tuple[Sequence[str], list[Sequence[str]]]


def _nodes(nodes: Sequence[Any], *, wide: bool) -> View:
    header = ["NAME", "STATUS", "AGE", "FLOWS/S", "CURRENT/MAX-FLOWS"]
    header += ["ADDRESS", "VERSION", "TLS"] if wide else []
    rows: list[Sequence[str]] = []
    for node in nodes:
        state = enum_name("relay.NodeState", node.state)
        row = [
            node.name,
            STATES.get(state, state),
            _age(node.uptime_ns),
            _rate(node),
            _held(node),
        ]
        tls = "Enabled" if node.tls.enabled else "Disabled"
        rows.append(row + ([node.address, node.version, tls] if wide else []))
    return header, rows


def _held(node: Any) -> str:
    if not node.max_flows:
        return "not known"
    share = 100 * node.num_flows / node.max_flows
    return f"{node.num_flows:,}/{node.max_flows:,} ({share:.2f}%)"


def _rate(node: Any) -> str:
    return f"{node.seen_flows / (node.uptime_ns / 1e9):.2f}" if node.uptime_ns else "not known"


def _namespaces(namespaces: Sequence[Any], *, wide: bool) -> View:
    if wide or any(one.cluster for one in namespaces):
        return ["NAMESPACE", "CLUSTER"], [(one.namespace, one.cluster) for one in namespaces]
    return ["NAMESPACE"], [(one.namespace,) for one in namespaces]


def _age(uptime_ns: int) -> str:
    seconds = uptime_ns // 1_000_000_000
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
