"""`cairn plan -f FILE…`: what an apply would change, before anything is applied.

    files, a cluster or a directory  ->  addresses, announcements, proxies, verdicts, what is wrong

Invariants  Nothing is written. Exit status 0; with --check, 1 if anything would change; 2: wrong
            usage.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from cairn.cli.cluster_objects import LINTED, POLICY_INPUTS
from cairn.cli.manifests import BadManifest, read_manifests
from cairn.cli.policy_options import FAILED, OK, USAGE, add_output, complain, read_world, show
from cairn.diagnose.plan.applied import applied
from cairn.diagnose.plan.differences import Difference, differences
from cairn.diagnose.plan.settled import settle
from cairn.diagnose.policy import plan as verdicts
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess

MOST_ROWS = 40
TITLES = {
    "address": "Addresses",
    "announcement": "Announcements",
    "proxy": "Proxies",
    "object": "Objects in force",
}
COLUMNS = ("WHAT", "NOW", "THEN", "WHY")
VERDICT_COLUMNS = ("FROM", "TO", "AT", "NOW", "THEN", "RULE")


def main(argv: list[str]) -> int:
    """Print what would change; return 0, or 1 if something does and --check is given."""
    options = _parser().parse_args(argv)
    try:
        given = read_manifests(options.file, options.namespace).objects
        world = read_world(options, (*POLICY_INPUTS, *LINTED))
    except BadManifest as error:
        complain("plan", error)
        return USAGE
    except (ApiError, NoAccess) as error:
        complain("plan", error)
        return FAILED
    after = world.changed((), given) if options.delete else applied(world, given)
    changed = differences(settle(world), settle(after))
    judged = verdicts.plan(world, after)
    _print(options, changed, judged)
    some = bool(changed or judged.cut_off or judged.changes)
    return FAILED if options.check and some else OK


def _parser() -> argparse.ArgumentParser:
    text = "What an apply would change: addresses, announcements, verdicts, proxies."
    parser = argparse.ArgumentParser(prog="cairn plan", description=text)
    parser.add_argument(
        "-f", "--file", action="append", required=True, metavar="FILE",
        help="what to apply: a file, a directory, - for standard input",
    )  # fmt: skip
    parser.add_argument(
        "--against", action="append", metavar="DIR", dest="objects",
        help="compare with the objects of this directory or file, and with no cluster",
    )  # fmt: skip
    parser.add_argument(
        "--delete", action="store_true", help="the files' objects would be deleted, not applied"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if anything would change")
    parser.add_argument("-n", "--namespace", default="default", help="of objects that name none")
    add_output(parser)
    return parser


def _print(
    options: argparse.Namespace, changed: Sequence[Difference], judged: verdicts.Plan
) -> None:
    if options.output != "table":
        plain = {
            "changes": [asdict(one) for one in changed],
            "cut_off": [asdict(one) for one in judged.cut_off],
            "verdicts": [asdict(one) for one in judged.changes],
        }
        show(options, "", (), (), plain)
        return
    for about, title in TITLES.items():
        rows = [(d.subject, d.before, d.after, d.note) for d in changed if d.about == about]
        if rows:
            show(options, title, COLUMNS, rows, ())
    _verdicts(options, "Cut off from what nearly everybody needs", judged.cut_off)
    _verdicts(options, "Verdicts", judged.changes)
    if not changed and not judged.cut_off and not judged.changes:
        print("nothing changes")


def _verdicts(
    options: argparse.Namespace, title: str, changes: tuple[verdicts.Change, ...]
) -> None:
    few = verdicts.digest(changes, MOST_ROWS)
    if few:
        rows = [(c.sender, c.receiver, c.at, c.before, c.after, c.rule) for c in few]
        show(options, title, VERDICT_COLUMNS, rows, ())
