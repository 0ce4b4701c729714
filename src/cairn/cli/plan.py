"""`cairn plan -f FILE…`: what an apply would change in the network.

files, a cluster's objects or a directory of them  ->  diagnose.plan  ->  what differs

Invariants  Exit status 0: the plan was made; with --check 1 if anything would change; 1 too if the
            cluster cannot be read; 2: wrong usage, or files that hold no objects.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from cairn.cli.cluster_objects import LINTED, POLICY_INPUTS, read_cluster
from cairn.cli.manifests import BadManifest, read_manifests
from cairn.cli.policy_options import FAILED, OK, USAGE, add_output, complain, show
from cairn.cli.render import make_console
from cairn.diagnose.plan.change import Effect, effect
from cairn.diagnose.policy.plan import Change, digest
from cairn.diagnose.policy.world import World
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess

MOST_ROWS = 40
"""From here on a table has workloads with the same change in one row; JSON and YAML have all."""
NONE = "-"


def main(argv: list[str]) -> int:
    """Print the plan."""
    options = _parser().parse_args(argv)
    try:
        given = read_manifests(options.file, options.namespace)
        world = _world(options)
    except BadManifest as error:
        complain("plan", error)
        return USAGE
    except (ApiError, NoAccess) as error:
        complain("plan", f"{error}; --against DIRECTORY needs no cluster")
        return FAILED
    found = effect(world, given.objects, delete=options.delete)
    if options.output == "table":
        _print(options, found)
    else:
        show(options, "", (), (), asdict(found))
    return FAILED if options.check and found.changes_something else OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cairn plan",
        description="What an apply would change: addresses, announcements, sessions, verdicts, "
        "proxies. Nothing is applied.",
    )
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        required=True,
        metavar="FILE",
        help="manifest or directory of them, - for standard input",
    )
    parser.add_argument(
        "--against",
        action="append",
        metavar="DIRECTORY",
        help="compare with the objects of these files, and with no cluster",
    )
    parser.add_argument(
        "--delete", action="store_true", help="the files' objects would be deleted, not applied"
    )
    parser.add_argument("--check", action="store_true", help="status 1 if anything would change")
    parser.add_argument("-n", "--namespace", default="default", help="of objects that name none")
    add_output(parser)
    return parser


def _world(options: argparse.Namespace) -> World:
    if options.against:
        return World.of(read_manifests(options.against, options.namespace).objects)
    return World.of(read_cluster(options.kubeconfig, (*POLICY_INPUTS, *LINTED)))


def _print(options: argparse.Namespace, found: Effect) -> None:
    def table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
        if rows:
            show(options, title, columns, rows, ())

    table("Objects", ("OBJECT", "WILL BE"), [(o.object, o.what) for o in found.objects])
    table(
        "Addresses",
        ("SERVICE", "NOW", "THEN", "WHY"),
        [(a.service, _list(a.before), _list(a.after), a.why) for a in found.addresses],
    )
    table(
        "Announcements",
        ("PREFIX", "NODES NOW", "NODES THEN", "LATER"),
        [(a.prefix, _list(a.before), _list(a.after), a.why) for a in found.announcements],
    )
    table(
        "BGP sessions",
        ("NODE", "NEIGHBORS NOW", "NEIGHBORS THEN"),
        [(s.node, _list(s.before), _list(s.after)) for s in found.sessions],
    )
    table("Cut off from what nearly everybody needs", VERDICTS, _verdicts(found.cut_off))
    table("Connections that change", VERDICTS, _verdicts(found.verdicts))
    table(
        "Proxies",
        ("WORKLOAD", "DIRECTION", "NOW", "THEN"),
        [(p.workload, p.direction, _list(p.before), _list(p.after)) for p in found.proxies],
    )
    for policy, reason in found.invalid.items():
        complain("plan", f"{policy} would not be enforced: {reason}")
    for line in found.ignored:
        complain("plan", f"would not be honoured: {line}")
    if not found.changes_something:
        make_console().print("[bold green]nothing changes in the network[/]", highlight=False)


VERDICTS = ("FROM", "TO", "AT", "NOW", "THEN", "RULE")


def _verdicts(changes: Sequence[Change]) -> list[tuple[str, ...]]:
    few = digest(tuple(changes), MOST_ROWS)
    return [(c.sender, c.receiver, c.at, c.before, c.after, c.rule) for c in few]


def _list(words: Sequence[str]) -> str:
    return ", ".join(words) or NONE
