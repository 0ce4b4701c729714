"""What the commands about policies share: where objects come from, how answers are printed.

arguments  ->  World; rows  ->  table | JSON | YAML
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.markup import escape

from cairn.cli.cluster_objects import POLICY_INPUTS, read_cluster
from cairn.cli.manifests import read_manifests
from cairn.cli.render import FORMS, make_console, show_table, spell
from cairn.diagnose.policy.world import World
from cairn.kube.resource import Resource

OK, FAILED, USAGE = 0, 1, 2


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add what every command that reads has."""
    parser.add_argument("-o", "--output", choices=FORMS, default="table")
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the lab's")


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add where the objects come from."""
    add_output(parser)
    parser.add_argument(
        "--objects",
        action="append",
        metavar="PATH",
        help="take all objects from these files or directories, and none from a cluster",
    )


def read_world(options: argparse.Namespace, kinds: Iterable[Resource] = POLICY_INPUTS) -> World:
    """Return the World that the options mean; raises ApiError, NoAccess, BadManifest."""
    if options.objects:
        return World.of(read_manifests(options.objects).objects)
    return World.of(read_cluster(options.kubeconfig, kinds))


def show(
    options: argparse.Namespace,
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, ...]],
    plain: Any,
) -> None:
    """Print rows as a table, or their plain form as JSON or YAML."""
    if options.output == "table":
        # Brackets of paths and of IPv6 addresses are no markup.
        show_table(make_console(), title, columns, [tuple(map(escape, row)) for row in rows])
    else:
        print(spell(plain, options.output), end="")


def complain(command: str, text: object) -> None:
    """Print one line on standard error."""
    print(f"cairn {command}: {text}", file=sys.stderr)
