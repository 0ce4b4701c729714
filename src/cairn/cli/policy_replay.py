"""`cairn policy replay -f FILE…`: which recorded flows would have gone otherwise.

files, flows as JSON lines, a cluster's objects  ->  diagnose.policy.replay  ->  flows that change
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cairn.cli.durations import duration
from cairn.cli.kept_flows import KeptFlows
from cairn.cli.manifests import BadManifest
from cairn.cli.policy_options import FAILED, OK, add_source, complain, read_world, show
from cairn.cli.policy_plan import add_change, changed
from cairn.cli.relay_reach import add_reach
from cairn.diagnose.policy.replay import Replay, replay
from cairn.flow.record import BadFlow, Flow, read_flow

COLUMNS = ("FROM", "TO", "AT", "NOW", "THEN", "RULE", "FLOWS")


def add(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> Callable[[argparse.Namespace], int]:
    """Add the command's arguments; return what runs it."""
    text = "Which recorded flows would have gone otherwise; status 1 if any."
    made = actions.add_parser("replay", help=text, description=text)
    add_change(made)
    add_flows(made)
    add_source(made)
    return run


def add_flows(parser: argparse.ArgumentParser) -> None:
    """Add where flows come from, and from when on."""
    parser.add_argument(
        "--flows",
        action="append",
        metavar="FILE",
        help="flows as JSON lines, as hubble observe -o jsonpb prints them; - for standard input"
        " (default: the relay's history)",
    )
    parser.add_argument(
        "--since", type=duration, metavar="24h", help="those seen in this time alone"
    )
    add_reach(parser)


class Lines:
    """The flows of some files, and the lines that are none."""

    def __init__(self, paths: list[str], since: timedelta | None) -> None:
        self._paths = paths
        self._from = datetime.now(UTC) - since if since else None
        self.bad: list[str] = []
        """Lines that are no flows: where, and why."""
        self.older = 0
        """Flows that were seen before the time asked for."""

    def __iter__(self) -> Iterator[Flow]:
        for path in self._paths:
            for number, line in enumerate(_lines(path), 1):
                if not line.strip():
                    continue
                try:
                    flow = read_flow(line)
                except BadFlow as error:
                    self.bad.append(f"{path}:{number}: {error}")
                    continue
                if self._from and flow.time < self._from:
                    self.older += 1
                else:
                    yield flow

    def tell(self, command: str) -> None:
        """Say on standard error what was passed over."""
        if self.older:
            complain(command, f"{self.older} flows are older than asked for, and passed over")
        if self.bad:
            count = len(self.bad)
            what = "line is no flow" if count == 1 else "lines are no flows"
            complain(command, f"{count} {what}, and passed over; the first: {self.bad[0]}")


def flows_of(options: argparse.Namespace) -> Lines | KeptFlows:
    """Return the flows that the options mean."""
    if options.flows:
        return Lines(options.flows, options.since)
    return KeptFlows(options, options.since)


def _lines(path: str) -> Iterator[str]:
    if path == "-":
        yield from sys.stdin
        return
    try:
        with Path(path).open(errors="replace") as file:
            yield from file
    except OSError as error:
        raise BadManifest(f"{path}: {error.strerror}") from None


def run(options: argparse.Namespace) -> int:
    """Print what changes; return 0 if nothing does."""
    world = read_world(options)
    lines = flows_of(options)
    found = replay(lines, world, changed(options, world))
    rows = [
        (r.sender, r.receiver, r.at, r.before, r.after, r.rule, str(r.flows)) for r in found.rows
    ]
    show(options, "Flows that change", COLUMNS, rows, asdict(found))
    if options.output == "table":
        print(_summary(found))
    lines.tell("policy replay")
    return FAILED if found.rows or lines.bad else OK


def _summary(found: Replay) -> str:
    text = (
        f"{found.judged} flows judged: {found.denied} passed and would be denied, "
        f"{found.allowed} were denied and would pass"
    )
    if found.replies:
        text += f"; {found.replies} replies belong to them"
    if found.otherwise:
        text += (
            f"; {found.otherwise} {'has' if found.otherwise == 1 else 'have'} another verdict "
            "today than was recorded, for policies have changed since"
        )
    return text
