"""`cairn status`: one screen that says what runs, who announces what, and what is wrong.

Kubernetes API  ->  Overview  ->  tables | JSON | YAML; exit status 0 if all is well, else 1
"""

import argparse
import asyncio
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain

import msgspec
import yaml
from rich.console import Console
from rich.table import Table

from cairn.diagnose.overview import Inventory, Overview, Problem, compile_overview
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.kubeconfig import NoAccess
from cairn.kube.metadata import Object
from cairn.kube.resource import (
    BGP_ADVERTISEMENTS,
    BGP_NODE_CONFIGS,
    BGP_PEERING_POLICIES,
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    NODES,
    PODS,
    POOLS,
    SERVICES,
    STORED_KINDS,
    Resource,
)
from cairn.kube.unsupported import SETTINGS
from cairn.lab.state import DEFAULT_NAME, Lab

OK, FAILED = 0, 1
PIPE_COLUMNS = 240


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
    if options.output == "table":
        _show(_console(), url, overview)
    else:
        plain = asdict(overview) | {"healthy": overview.healthy}
        print(_spell(plain, options.output), end="")
    return OK if overview.healthy else FAILED


def _spell(plain: dict[str, object], form: str) -> str:
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n"
    builtins: str = yaml.safe_dump(msgspec.to_builtins(plain), sort_keys=False)
    return builtins


async def _fetch(kubeconfig: str | None) -> tuple[str, Inventory]:
    async with Client.connect(kubeconfig or _lab_kubeconfig()) as client:

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

        nodes, pods, services, slices, pools, policies, configs = await asyncio.gather(
            *map(
                objects,
                (
                    NODES,
                    PODS,
                    SERVICES,
                    ENDPOINT_SLICES,
                    POOLS,
                    BGP_PEERING_POLICIES,
                    BGP_NODE_CONFIGS,
                ),
            )
        )
        namespace, name = SETTINGS
        others = await asyncio.gather(
            *map(objects, (*STORED_KINDS, BGP_ADVERTISEMENTS)),
            objects(CONFIG_MAPS, namespace, f"metadata.name={name}"),
        )
        inventory = Inventory(
            nodes, pods, services, slices, pools, policies, configs, list(chain(*others))
        )
        return client.url, inventory


def _lab_kubeconfig() -> str | None:
    path = Lab(DEFAULT_NAME).kubeconfig
    return None if "KUBECONFIG" in os.environ or not path.exists() else str(path)


def _console() -> Console:
    # A pipe has no width: what is cut there cannot be found by grep.
    return Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS)


def _show(console: Console, url: str, overview: Overview) -> None:
    ready = sum(row.ready for row in overview.nodes)
    console.print(f"[bold]Cairn[/] at {url}: {ready} of {len(overview.nodes)} nodes ready")
    _table(
        console,
        "Nodes",
        ("NODE", "ADDRESS", "STATE", "AGENT"),
        [(n.name, n.address, _mark(n.ready, "ready"), n.agent) for n in overview.nodes],
    )
    _table(
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
    _table(
        console,
        "Load-balancer addresses",
        ("SERVICE", "ADDRESS", "PORTS", "BACKENDS", "ANNOUNCED BY"),
        [
            (
                a.service,
                ", ".join(a.addresses) or "[red]<pending>[/]",
                a.ports,
                f"{a.backends_ready} of {a.backends} ready",
                ", ".join(a.announced_by) or "[red]nobody[/]",
            )
            for a in overview.addresses
        ],
    )
    _table(
        console,
        "Pools",
        ("POOL", "BLOCKS", "USED", "TOTAL"),
        [(p.name, p.blocks, p.used, p.total) for p in overview.pools],
    )
    _problems(console, overview)


def _table(
    console: Console, title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    console.print(f"\n[bold]{title}[/]" + ("" if rows else ": none"))
    if rows:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        for column in columns:
            table.add_column(column, no_wrap=column != "BLOCKS")
        for row in rows:
            table.add_row(*row)
        console.print(table)


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
    console.print(f"[{colour}]•[/] [bold]{problem.subject}[/]: {problem.what}", highlight=False)
    if problem.remedy:
        console.print(f"  → {problem.remedy}", highlight=False)


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
