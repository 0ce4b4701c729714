"""`cairn status`: one screen that says what runs, who announces what, and what is wrong.

Kubernetes API  ->  Overview  ->  tables | JSON | YAML; exit status 0 if all is well, else 1
"""

import argparse
import asyncio
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain

from rich.console import Console
from rich.markup import escape

from cairn.cli.relay_pod import relay_state
from cairn.cli.render import lab_kubeconfig, make_console, show_table, spell
from cairn.diagnose.overview import Inventory, Overview, Problem, compile_overview
from cairn.diagnose.policies import PolicyCounts
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.kubeconfig import NoAccess
from cairn.kube.metadata import Object
from cairn.kube.resource import (
    BGP_ADVERTISEMENTS,
    BGP_NODE_CONFIGS,
    BGP_PEERING_POLICIES,
    CILIUM_NODES,
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    L2_POLICIES,
    NODES,
    PODS,
    POLICY_KINDS,
    POOLS,
    SERVICES,
    STORED_KINDS,
    Resource,
)
from cairn.kube.unsupported import SETTINGS

KINDS = {
    "nodes": NODES,
    "pods": PODS,
    "services": SERVICES,
    "slices": ENDPOINT_SLICES,
    "pools": POOLS,
    "policies": BGP_PEERING_POLICIES,
    "node_configs": BGP_NODE_CONFIGS,
    "cilium_nodes": CILIUM_NODES,
    "l2_policies": L2_POLICIES,
}
"""By Inventory's fields."""
OK, FAILED = 0, 1


def main(argv: list[str]) -> int:
    """Show the overview; return 0 if nothing severe is wrong."""
    parser = argparse.ArgumentParser(
        prog="cairn status",
        description="Show sessions, addresses, announcements, backends, and what is wrong.",
    )
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
    options = parser.parse_args(argv)
    try:
        url, inventory = asyncio.run(_fetch(options.kubeconfig))
    except (ApiError, NoAccess) as error:
        print(f"cairn status: {error}", file=sys.stderr)
        return FAILED
    overview = compile_overview(inventory)
    relay = relay_state(inventory.pods)
    if options.output == "table":
        _show(make_console(), url, overview, relay)
    else:
        plain = asdict(overview) | {"hubble_relay": relay, "healthy": overview.healthy}
        print(spell(plain, options.output), end="")
    return OK if overview.healthy else FAILED


async def _fetch(kubeconfig: str | None) -> tuple[str, Inventory]:
    async with Client.connect(kubeconfig or lab_kubeconfig()) as client:

        async def objects(
            resource: Resource, namespace: str | None = None, fields: str = ""
        ) -> list[Object]:
            try:
                items, _ = await client.list(resource, namespace=namespace, field_selector=fields)
            except ApiError as error:
                if error.status == 404:
                    return []
                raise
            return list(items)

        found = await asyncio.gather(*map(objects, KINDS.values()))
        kinds = dict(zip(KINDS, found, strict=True))
        namespace, name = SETTINGS
        policies = await asyncio.gather(*map(objects, POLICY_KINDS))
        others = await asyncio.gather(
            *map(objects, (*STORED_KINDS, BGP_ADVERTISEMENTS)),
            objects(CONFIG_MAPS, namespace, f"metadata.name={name}"),
        )
        inventory = Inventory(
            **kinds, network_policies=list(chain(*policies)), others=list(chain(*others))
        )
        return client.url, inventory


def _show(console: Console, url: str, overview: Overview, relay: str) -> None:
    ready = sum(row.ready for row in overview.nodes)
    console.print(f"[bold]Cairn[/] at {url}: {ready} of {len(overview.nodes)} nodes ready")
    show_table(
        console,
        "Nodes",
        ("NODE", "ADDRESS", "STATE", "AGENT", "XDP"),
        [
            (n.name, n.address, _mark(n.ready, "ready"), n.agent, n.xdp or "not said")
            for n in overview.nodes
        ],
    )
    show_table(
        console,
        "BGP sessions",
        ("NODE", "PEER", "AS", "STATE", "UP", "ANNOUNCED"),
        [
            (
                s.node,
                s.peer,
                str(s.asn),
                _mark(s.state == "established", s.state, s.state),
                _age(s.since) if s.state == "established" else "",
                str(s.announced),
            )
            for s in overview.sessions
        ],
    )
    _addresses(console, overview)
    show_table(
        console,
        "Pools",
        ("POOL", "BLOCKS", "USED", "TOTAL"),
        [(p.name, p.blocks, p.used, p.total) for p in overview.pools],
    )
    _policies(console, overview.policies)
    colour = "green" if relay == "ready" else "yellow"
    console.print(f"\n[bold]Hubble relay[/]: [{colour}]{escape(relay)}[/]", highlight=False)
    _problems(console, overview)


def _policies(console: Console, counts: PolicyCounts) -> None:
    if not counts.total:
        return
    said = [f"[green]{counts.enforced} enforced[/]"]
    said += [f"[yellow]{counts.audit} in audit mode[/]"] if counts.audit else []
    said += [f"[yellow]{counts.disabled} disabled[/]"] if counts.disabled else []
    said += [f"[red]{counts.invalid} invalid[/]"] if counts.invalid else []
    console.print(f"\n[bold]Network policies[/]: {', '.join(said)}", highlight=False)


def _addresses(console: Console, overview: Overview) -> None:
    show_table(
        console,
        "Load-balancer addresses",
        ("SERVICE", "ADDRESS", "PORTS", "BACKENDS", "ANNOUNCED BY", "ARP/ND"),
        [
            (
                a.service,
                ", ".join(a.addresses) or "[red]<pending>[/]",
                a.ports,
                f"{a.backends_ready} of {a.backends} ready",
                ", ".join(a.announced_by) or ("[dim]-[/]" if a.answered_by else "[red]nobody[/]"),
                ", ".join(a.answered_by) or "[dim]-[/]",
            )
            for a in overview.addresses
        ],
    )


def _problems(console: Console, overview: Overview) -> None:
    severe = [problem for problem in overview.problems if problem.severe]
    notes = [problem for problem in overview.problems if not problem.severe]
    if severe:
        console.print(f"\n[bold red]What is wrong[/] ({len(severe)})")
    else:
        console.print("\n[bold green]Nothing is wrong.[/]")
    for problem in severe:
        _problem(console, problem, "red")
    if notes:
        console.print("\n[bold]Worth knowing[/]")
    for problem in notes:
        _problem(console, problem, "yellow")


def _problem(console: Console, problem: Problem, colour: str) -> None:
    said = f"[{colour}]•[/] [bold]{escape(problem.subject)}[/]: {escape(problem.what)}"
    console.print(said, highlight=False)
    if problem.remedy:
        console.print(f"  → {escape(problem.remedy)}", highlight=False)


def _mark(good: bool, yes: str, no: str = "not ready") -> str:
    return f"[green]{yes}[/]" if good else f"[red]{no}[/]"


def _age(since: str) -> str:
    try:
        started = datetime.fromisoformat(since.replace("Z", "+00:00"))
    except ValueError:
        return "?"
    seconds = int((datetime.now(UTC) - started).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"
