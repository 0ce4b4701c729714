"""`cairn policy plan -f FILE…`: which connections would change their verdict.

files, a cluster's objects  ->  diagnose.policy.plan  ->  what is cut off, what changes
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict

from cairn.cli.manifests import read_manifests
from cairn.cli.policy_options import FAILED, OK, add_source, complain, read_world, show
from cairn.diagnose.policy.plan import Change, Plan, digest, plan
from cairn.diagnose.policy.world import World

MOST_ROWS = 40
"""From here on a table has workloads with the same change in one row; JSON and YAML have all."""
COLUMNS = ("FROM", "TO", "AT", "NOW", "THEN", "RULE")


def add(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> Callable[[argparse.Namespace], int]:
    """Add the command's arguments; return what runs it."""
    text = "Which connections would change their verdict; status 1 if any."
    made = actions.add_parser("plan", help=text, description=text)
    add_change(made)
    add_source(made)
    return run


def add_change(parser: argparse.ArgumentParser) -> None:
    """Add what would be applied or deleted."""
    parser.add_argument(
        "-f", "--file", action="append", required=True, metavar="FILE", help="what to apply"
    )
    parser.add_argument(
        "--delete", action="store_true", help="the files' objects would be deleted, not applied"
    )
    parser.add_argument("-n", "--namespace", default="default", help="of objects that name none")


def changed(options: argparse.Namespace, world: World) -> World:
    """Return the World with the change made."""
    given = read_manifests(options.file, options.namespace).objects
    return world.changed((), given) if options.delete else world.changed(given)


def run(options: argparse.Namespace) -> int:
    """Print the plan; return 0 if nothing changes."""
    world = read_world(options)
    found = plan(world, changed(options, world))
    if options.output == "table":
        if found.cut_off:
            _show(options, "Cut off from what nearly everybody needs", found.cut_off)
        _show(options, "Connections that change", found.changes)
    else:
        show(options, "", (), (), asdict(found))
    for policy, reason in found.invalid.items():
        complain("policy plan", f"{policy} would not be enforced: {reason}")
    return FAILED if found.invalid or _any(found) else OK


def _any(found: Plan) -> bool:
    return bool(found.cut_off or found.changes)


def _show(options: argparse.Namespace, title: str, changes: Sequence[Change]) -> None:
    few = digest(tuple(changes), MOST_ROWS)
    rows = [(c.sender, c.receiver, c.at, c.before, c.after, c.rule) for c in few]
    show(options, title, COLUMNS, rows, ())
