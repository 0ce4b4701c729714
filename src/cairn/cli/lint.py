"""`cairn lint [FILE…]`: what objects mean otherwise than their author may think.

    files, with the cluster around them; or the cluster alone  ->  findings

Invariants  Exit status 0: nothing worse than a note; 1: an error or a warning; 2: wrong usage.
            A cluster that is not there is told of, and the files are looked at alone.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from cairn.cli.cluster_objects import LINTED, POLICY_INPUTS, connect, fetch, fetch_settings
from cairn.cli.manifests import BadManifest, Manifests, read_manifests
from cairn.cli.policy_options import FAILED, OK, USAGE, add_output, complain
from cairn.cli.render import make_console, spell
from cairn.diagnose.lint.found import Found, Weight
from cairn.diagnose.lint.lint import lint
from cairn.diagnose.policy.world import World
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess
from cairn.kube.metadata import Object

COLOURS = {Weight.ERROR: "red", Weight.WARNING: "yellow", Weight.NOTE: "cyan"}


def main(argv: list[str]) -> int:
    """Lint; return 0 if nothing is worse than a note."""
    parser = argparse.ArgumentParser(
        prog="cairn lint",
        description="Find what objects mean otherwise than their author may think.",
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="FILE",
        help="manifests or directories of them, - for standard input; none: what the cluster has",
    )
    parser.add_argument(
        "--offline", action="store_true", help="look at the files alone, and at no cluster"
    )
    parser.add_argument(
        "-n",
        "--namespace",
        default="default",
        help="of objects that name none (default: %(default)s)",
    )
    add_output(parser)
    options = parser.parse_args(argv)
    if options.offline and not options.paths:
        parser.error("--offline needs files")
    try:
        given = read_manifests(options.paths, options.namespace)
    except BadManifest as error:
        complain("lint", error)
        return USAGE
    try:
        cluster = [] if options.offline else _cluster(options)
    except (ApiError, NoAccess) as error:
        if not options.paths or options.kubeconfig:
            complain("lint", error)
            return FAILED
        complain("lint", f"{error}; the files are looked at alone")
        cluster = []
    found = _lint(given, cluster)
    _print(options, found)
    return FAILED if any(f.weight > Weight.NOTE for f in found) else OK


def _lint(given: Manifests, cluster: Sequence[Object]) -> list[Found]:
    around = World.of(cluster)
    if not given.objects:
        return lint(around.objects.values(), around)
    return lint(given.objects, around.changed(given.objects), given.unplaced, files=True)


def _cluster(options: argparse.Namespace) -> list[Object]:
    async def run() -> list[Object]:
        async with connect(options.kubeconfig) as client:
            return [
                *await fetch(client, (*POLICY_INPUTS, *LINTED)),
                *await fetch_settings(client),
            ]

    return asyncio.run(run())


def _print(options: argparse.Namespace, found: Sequence[Found]) -> None:
    if options.output != "table":
        plain: list[dict[str, Any]] = [asdict(f) | {"weight": f.weight.name.lower()} for f in found]
        print(spell(plain, options.output), end="")
        return
    console = make_console()
    for finding in found:
        _show(console, finding)
    counts = {w: sum(f.weight is w for f in found) for w in Weight}
    told = ", ".join(
        f"{count} {weight.name.lower()}{'s' if count > 1 else ''}"
        for weight, count in sorted(counts.items(), reverse=True)
        if count
    )
    console.print(told or "[bold green]nothing found[/]", highlight=False)


def _show(console: Console, finding: Found) -> None:
    colour = COLOURS[finding.weight]
    where = f" {finding.path}" if finding.path else ""
    console.print(
        f"[{colour}]{finding.weight.name.lower()}[/] [bold]{escape(finding.subject)}[/]"
        f"{escape(where)}: {escape(finding.message)} [dim]({finding.code})[/]",
        highlight=False,
        soft_wrap=True,
    )
