"""`cairn doctor`: all checks over the whole system; what is wrong, how one sees it, how to mend it.

    cluster, nodes, router  ->  Facts  ->  findings  ->  table | JSON | YAML

Invariants  Exit status 0: nothing but notes; 1: something is wrong, or the cluster cannot be asked;
            2: wrong usage.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from cairn.cli.facts import collect_facts, unreached
from cairn.cli.render import FORMS, make_console, show_table, spell
from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.doctor.causes import Ranked, rank
from cairn.diagnose.doctor.certificates import check_certificates
from cairn.diagnose.doctor.table import AREAS, Looked, examine, is_healthy, ranked
from cairn.diagnose.facts import Facts
from cairn.diagnose.finding import Weight, plain
from cairn.diagnose.findings import KINDS, UnknownKind, kind_of
from cairn.drive.kube_client import ApiError, Unreachable
from cairn.drive.kubeconfig import NoAccess

OK, FAILED, USAGE = 0, 1, 2
PAGES = Path(__file__).parents[3] / "docs" / "findings"
COLOURS = {Weight.ERROR: "bold red", Weight.WARNING: "yellow", Weight.NOTE: "dim"}


def main(argv: list[str]) -> int:
    """Look at everything; return the exit status."""
    options = _parser().parse_args(argv)
    try:
        if options.list:
            print("\n".join(f"{k.code}  {k.weight.name.lower():<8} {k.title}" for k in KINDS))
            return OK
        if options.explain:
            return _explain(options.explain)
        only = {kind_of(word) for word in options.only or ()}
        facts = asyncio.run(collect_facts(options.kubeconfig, options.router))
    except UnknownKind as error:
        print(f"cairn doctor: {error}", file=sys.stderr)
        return USAGE
    except (ApiError, NoAccess) as error:
        print(f"cairn doctor: {error}", file=sys.stderr)
        if not isinstance(error, Unreachable):
            return FAILED
        return _look_at_certificates(options)
    looked = examine(facts, options.area or ())
    found = [one for one in ranked(looked) if not only or one.finding.kind in only]
    if options.output == "table":
        show(make_console(), facts, looked, found)
    else:
        print(spell(_plain(facts, looked, found), options.output), end="")
    return OK if is_healthy(one.finding for one in found) else FAILED


def _look_at_certificates(options: argparse.Namespace) -> int:
    """Tell whether certificates keep us from the API server; return that it cannot be asked."""
    facts = unreached(options.kubeconfig)
    bench = Bench()
    check_certificates(facts, bench)
    found = rank(bench.findings)
    if found and options.output == "table":
        console = make_console()
        for one in found:
            show_finding(console, one)
    elif found:
        print(spell(_plain(facts, (), found), options.output), end="")
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cairn doctor", description="Check the whole system and say what is wrong, and why."
    )
    parser.add_argument("--only", action="append", metavar="CODE", help="this finding alone")
    parser.add_argument("--area", action="append", choices=AREAS, help="these checks alone")
    parser.add_argument("--router", metavar="URL|SOCKET", help="where a cairn router answers")
    parser.add_argument("--explain", metavar="CODE", help="print the page about a finding")
    parser.add_argument("--list", action="store_true", help="print every finding that there is")
    parser.add_argument("-o", "--output", choices=FORMS, default="table")
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
    return parser


def _explain(word: str) -> int:
    kind = kind_of(word)
    path = PAGES / f"{kind.code}.md"
    if path.exists():
        print(path.read_text(), end="")
    else:
        print(f"{kind.code} {kind.name}: {kind.title}\n\n{kind.cause}\n{kind.mend}")
    return OK


def _plain(facts: Facts, looked: Sequence[Looked], found: Sequence[Ranked]) -> dict[str, object]:
    return {
        "healthy": is_healthy(one.finding for one in found),
        "findings": [
            plain(one.finding)
            | {"follows": one.follows.kind.code + " " + one.follows.subject if one.follows else ""}
            for one in found
        ],
        "checks": [
            {
                "area": one.check.area,
                "what": one.check.what,
                "checked": one.bench.checked,
                "found": len(one.bench.findings),
                "skipped": one.bench.skipped,
            }
            for one in looked
        ],
        "seconds": dict(facts.took_s),
    }


def show_finding(console: Console, ranked_one: Ranked) -> None:
    """Print one finding: its cause, and unless it is a note, what was seen and what mends it."""
    finding, follows = ranked_one.finding, ranked_one.follows
    colour = COLOURS[finding.kind.weight]
    weight = finding.kind.weight.name.lower()
    console.print(
        f"[{colour}]{weight}[/] [bold]{finding.kind.code} {escape(finding.subject)}[/]: "
        f"{escape(finding.cause)}",
        highlight=False,
        soft_wrap=True,
    )
    if finding.kind.weight is Weight.NOTE:
        return
    for line in finding.evidence:
        console.print(f"  seen: {escape(line)}", highlight=False, soft_wrap=True)
    if follows is not None:
        first = f"{follows.kind.code} {follows.subject}"
        console.print(f"  first: {escape(first)}: it explains this", highlight=False)
    console.print(f"  mend: {escape(finding.mend)}", highlight=False, soft_wrap=True)


def show(console: Console, facts: Facts, looked: Sequence[Looked], found: Sequence[Ranked]) -> None:
    """Print findings by weight, then what was checked."""
    for one in found:
        show_finding(console, one)
    rows = []
    for area in AREAS:
        of = [one for one in looked if one.check.area == area]
        if of:
            wrong = sum(f.kind.weight is not Weight.NOTE for one in of for f in one.bench.findings)
            what = ", ".join(
                one.check.what + (f" (skipped: {one.bench.skipped})" if one.bench.skipped else "")
                for one in of
            )
            count = str(sum(one.bench.checked for one in of))
            rows.append((area, count, str(wrong) if wrong else "-", escape(what)))
    show_table(console, "Checked", ("AREA", "CHECKED", "WRONG", "WHAT"), rows)
    took = facts.took_s.get("all", 0)
    end = (
        "[bold green]healthy[/]"
        if is_healthy(one.finding for one in found)
        else "[bold red]not healthy[/]"
    )
    console.print(f"\n{end}: asked everything in {took:.1f} s", highlight=False)
