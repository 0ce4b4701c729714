"""`cairn policy used`: what the rules did, from the agents' metrics.

    this node's agent   ->  its rules' counters (--local)
    kubeconfig          ->  RuleRef -> Uses, summed over the nodes; a line for each that did not say

The agents' pages are read where they are, by this command in the agents' containers as with
`cairn lb`, so no port is opened for it.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from cairn.cli.agents import ADDRESS, NoAgent, ask_agents
from cairn.cli.cluster_objects import connect
from cairn.cli.policy_options import FAILED, OK, add_output, complain, show
from cairn.diagnose.policy.listing import Uses
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.policy.rule import PolicyRef, RuleRef

PORT = 9962
PREFIX = "cairn_policy_"
TIMEOUT_S = 10
_COUNTS = ("allowed", "denied", "audited")


@dataclass(frozen=True, slots=True)
class UsedRow:
    """One rule's counters, as one node or all have them."""

    kind: str
    namespace: str
    name: str
    rule: str
    """Where in its spec; "" for its default deny."""
    allowed: int
    denied: int
    audited: int


def add(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> Callable[[argparse.Namespace], int]:
    """Add the command's arguments; return what runs it."""
    text = "What the rules did since the agents started."
    made = actions.add_parser("used", help=text, description=text)
    made.add_argument("--local", metavar="ADDRESS", help="ask the agent at this address alone")
    add_output(made)
    return run


def run(options: argparse.Namespace) -> int:
    """Print the counters; return 1 if an agent did not answer."""
    if options.local:
        try:
            rows, failed = read_page(asyncio.run(_page(options.local))), []
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            rows, failed = [], [str(error) or f"{options.local}: no answer in time"]
    else:
        used, failed = read_used(options.kubeconfig)
        rows = [_row(ref, uses) for ref, uses in (used or {}).items()]
    cells = [
        (str(PolicyRef(r.kind, r.namespace, r.name)), r.rule or "default deny", *_words(r))
        for r in rows
    ]
    columns = ("POLICY", "RULE", "ALLOWED", "DENIED", "AUDITED")
    show(options, "Rules", columns, cells, [asdict(row) for row in rows])
    for line in failed:
        complain("policy used", line)
    return FAILED if failed else OK


def _row(ref: RuleRef, uses: Uses) -> UsedRow:
    kind, namespace, name = ref.policy
    return UsedRow(kind, namespace, name, ref.path, uses.allowed, uses.denied, uses.audited)


def _words(row: UsedRow) -> tuple[str, str, str]:
    return str(row.allowed), str(row.denied), str(row.audited)


async def _page(address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{PORT}/metrics"
    limits = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=limits) as session, session.get(url) as answer:
        answer.raise_for_status()
        return await answer.text()


def read_page(text: str) -> list[UsedRow]:
    """Return the counters of the rules on a page of metrics; raises ValueError."""
    found: dict[tuple[str, str, str, str], Counter[str]] = {}
    for family in text_string_to_metric_families(text):
        if not family.name.startswith(PREFIX):
            continue
        for sample in family.samples:
            word = sample.name.removeprefix(PREFIX).removesuffix("_total")
            if word in _COUNTS:
                found.setdefault(_rule(sample.labels), Counter())[word] += int(sample.value)
    return [
        UsedRow(*rule, *(counts[word] for word in _COUNTS))
        for rule, counts in sorted(found.items())
    ]


def _rule(labels: Mapping[str, str]) -> tuple[str, str, str, str]:
    kind, namespace, name = (labels.get(key, "") for key in ("kind", "namespace", "name"))
    return kind, namespace, name, labels.get("rule", "")


def read_used(kubeconfig: str | None) -> tuple[dict[RuleRef, Uses] | None, list[str]]:
    """Return what each rule did on all nodes, and a line for each that did not say.

    None if no node said.
    """

    async def run() -> tuple[dict[RuleRef, Uses] | None, list[str]]:
        async with connect(kubeconfig) as client:
            return await ask_used(client)

    try:
        return asyncio.run(run())
    except (ApiError, NoAgent) as error:
        return None, [str(error)]


async def ask_used(client: Client) -> tuple[dict[RuleRef, Uses] | None, list[str]]:
    """Return the same of a cluster; raises ApiError, NoAgent."""
    answers = await ask_agents(client, ["policy", "used", "--local", ADDRESS])
    pages: list[list[UsedRow]] = []
    for node, said in answers.by_node.items():
        try:
            pages.append(msgspec.convert(said, list[UsedRow]))
        except msgspec.ValidationError as error:
            answers.failed.append(f"{node}: {error}")
    return (_sum(row for rows in pages for row in rows) if pages else None), answers.failed


def _sum(rows: Iterable[UsedRow]) -> dict[RuleRef, Uses]:
    totals: dict[RuleRef, Any] = {}
    for row in rows:
        ref = RuleRef(PolicyRef(row.kind, row.namespace, row.name), row.rule)
        one = totals.get(ref, Uses())
        totals[ref] = Uses(
            one.allowed + row.allowed, one.denied + row.denied, one.audited + row.audited
        )
    return totals
