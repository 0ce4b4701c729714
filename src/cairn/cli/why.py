"""`cairn why CLIENT TARGET[:PORT]`: the whole way walked, then one sentence and what mends it.

arguments  ->  why_collect  ->  diagnose.why.walk  ->  a walk | JSON | YAML

Invariants  Exit status 0: it works; 1: it does not, or cannot be told; 2: wrong usage.
"""

import argparse
import asyncio
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

from cairn.cli.cluster_objects import connect
from cairn.cli.render import FORMS, make_console, spell
from cairn.cli.why_collect import Asked, collect
from cairn.cli.why_lab import lab_of
from cairn.diagnose.finding import plain
from cairn.diagnose.policy.layer7 import BadRequest, Request, parse_request
from cairn.diagnose.why.question import NoSuchParty, split_target
from cairn.diagnose.why.step import Outcome, Step
from cairn.diagnose.why.walk import Walk, walk
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess

OK, FAILED = 0, 1
ROUTERS = ("lab", "none")
MARKS = {
    Outcome.OK: ("green", "✓"),
    Outcome.WARN: ("yellow", "!"),
    Outcome.BROKEN: ("red", "✗"),
    Outcome.UNKNOWN: ("yellow", "?"),
    Outcome.SKIPPED: ("dim", "-"),
}


def main(argv: list[str]) -> int:
    """Walk, print, and return 0 if the client reaches the target."""
    options = parser().parse_args(argv)
    try:
        asked = Asked(
            options.client,
            split_target(options.target),
            options.router or "",
            options.probe,
            parse_request(options.http) if options.http else Request(),
        )
    except (BadRequest, ValueError) as error:
        parser().error(str(error))
    try:
        found = asyncio.run(_walk(options.kubeconfig, asked))
    except (ApiError, NoAccess, NoSuchParty) as error:
        print(f"cairn why: {error}", file=sys.stderr)
        return FAILED
    if options.output == "table":
        show(make_console(), found, probed=asked.probe)
    else:
        print(spell(plain_walk(found), options.output), end="")
    return OK if found.works else FAILED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    made = argparse.ArgumentParser(
        prog="cairn why",
        description="Walk the whole way from a client to a target, and say what is wrong.",
        epilog="A client is a host of the lab, NAMESPACE/NAME of a pod or workload, a node or an "
        "address; a target is a Service (NAMESPACE/NAME or its address), a pod, a node, an address "
        "or a DNS name, with :PORT and /udp or /sctp if need be.",
    )
    made.add_argument("client", metavar="CLIENT")
    made.add_argument("target", metavar="TARGET[:PORT]")
    made.add_argument("--probe", action="store_true", help="open a real connection, too")
    made.add_argument("--http", metavar="'METHOD /PATH'", help="a request on the connection")
    made.add_argument("--router", type=_router, default=None, metavar="HOW",
                      help="how the router is asked: lab, unix:SOCKET of cairn router, or none "
                      "(default: the lab's, if there is one)")  # fmt: skip
    made.add_argument("-o", "--output", choices=FORMS, default="table")
    made.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
    return made


def _router(text: str) -> str:
    if text not in ROUTERS and not (text.startswith("unix:") and text[5:]):
        raise argparse.ArgumentTypeError(f"{text!r} is not lab, none or unix:SOCKET")
    return text


async def _walk(kubeconfig: str | None, asked: Asked) -> Walk:
    lab = lab_of(kubeconfig)
    async with connect(kubeconfig) as client:
        question, facts = await collect(client, asked, lab)
    return walk(question, facts)


def plain_walk(found: Walk) -> dict[str, Any]:
    """Return a walk as plain values, for JSON and YAML."""
    asked = found.question
    return {
        "client": asked.client.text,
        "target": asked.target.text,
        "address": str(asked.address or ""),
        "port": asked.at,
        "protocol": asked.protocol.name,
        "works": found.works,
        "sentence": found.sentence,
        "mend": found.mend,
        "cause": found.cause.kind.code if found.cause else None,
        "findings": [plain(finding) for finding in found.findings],
        "steps": [
            {
                "name": step.name,
                "outcome": step.outcome.value,
                "evidence": step.evidence,
                "follows": step.follows,
                "findings": [finding.kind.code for finding in step.findings],
            }
            for step in found.steps
        ],
    }


def show(console: Console, found: Walk, *, probed: bool) -> None:
    """Print a walk: a line for each step, then the sentence and what mends it."""
    asked = found.question
    at = f" ({asked.frontend}/{asked.protocol.name})" if asked.address and asked.at else ""
    console.print(
        f"[bold]{escape(asked.client.text)} to {escape(asked.target.text)}[/]{escape(at)}",
        highlight=False,
    )
    wide = max((len(step.name) for step in found.steps), default=0)
    for step in found.steps:
        _show_step(console, step, wide)
    colour = "green" if found.works and not found.findings else "yellow" if found.works else "red"
    code = f"{found.findings[0].kind.code} " if found.findings else ""
    console.print(f"\n[bold {colour}]{code}{escape(found.sentence)}[/]", highlight=False)
    if found.findings:
        for line in found.findings[0].evidence[:8]:
            console.print(f"  [dim]|[/] {escape(line)}", highlight=False, soft_wrap=True)
        console.print(f"  → {escape(found.mend)}", highlight=False, soft_wrap=True)
    elif not probed:
        console.print("  (judged by what is known; --probe opens a real connection)", style="dim")


def _show_step(console: Console, step: Step, wide: int) -> None:
    colour, mark = MARKS[step.outcome]
    follows = f" (follows from {step.follows})" if step.follows else ""
    console.print(
        f"  [{colour}]{mark}[/] {step.name:<{wide}}  {escape(step.evidence)}{escape(follows)}",
        highlight=False,
        soft_wrap=True,
    )
