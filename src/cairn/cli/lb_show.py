"""The nodes' answers to `cairn lb`, as one view: rows for a table, plain values for programs.

decoded JSON by node, names  ->  View
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from cairn.cli.lb_node import ConnectionPage
from cairn.diagnose.lb_merge import (
    Names,
    differing,
    merge_backends,
    merge_frontends,
)
from cairn.observe.lb_rows import BackendRow, FrontendRow, TableRow, name_of

ByNode = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """What a command shows."""

    plain: Any
    """For JSON and YAML."""
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: list[str] = field(default_factory=list)
    """Lines below the table."""
    wrong: list[str] = field(default_factory=list)
    """What does not hold, a line each."""


def compile_view(action: str, by_node: ByNode, names: Names) -> View:
    """Return the view of one command's answers."""
    return _VIEWS[action](by_node, names)


def _frontends(by_node: ByNode, names: Names) -> View:
    said = {n: msgspec.convert(rows, list[FrontendRow]) for n, rows in by_node.items()}
    merged = merge_frontends(said, names)
    rows = [
        (
            row.service or "-",
            f"{name_of(row.address, row.port)}/{row.protocol}",
            row.kind or "-",
            _alike(row.ready),
            _alike(row.local),
            str(row.draining),
            ", ".join(row.flags) or "-",
        )
        for row in merged
    ]
    wrong = [
        f"{name_of(row.address, row.port)}/{row.protocol}: not on {', '.join(row.missing)}"
        for row in merged
        if row.missing
    ]
    columns = ("SERVICE", "FRONTEND", "KIND", "READY", "LOCAL", "DRAINING", "FLAGS")
    return View([asdict(row) for row in merged], "Frontends", columns, rows, wrong=wrong)


def _backends(by_node: ByNode, names: Names) -> View:
    said = {n: msgspec.convert(rows, list[BackendRow]) for n, rows in by_node.items()}
    merged = merge_backends(said, names)
    rows = [
        (
            name_of(row.address, row.port),
            row.node or "-",
            ", ".join(row.services) or "-",
            row.state,
            *map(str, (row.opened, row.answered, row.refused, row.reset)),
        )
        for row in merged
    ]
    columns = (
        "BACKEND", "NODE", "SERVICES", "STATE", "OPENED", "ANSWERED", "REFUSED", "RESET",
    )  # fmt: skip
    return View([asdict(row) for row in merged], "Backends", columns, rows)


def _connections(by_node: ByNode, _names: Names) -> View:
    pages = {n: msgspec.convert(page, ConnectionPage) for n, page in by_node.items()}
    plain = [
        {"node": node, **asdict(row)} for node, page in pages.items() for row in page.connections
    ]
    rows = [
        (
            node,
            row.protocol,
            row.client,
            row.frontend,
            row.backend,
            row.state + (", handed over" if row.handed_over else ""),
            _duration(row.age_s),
            _duration(row.idle_s),
            f"{row.packets} / {row.answer_packets}",
            f"{row.octets} / {row.answer_octets}",
        )
        for node, page in pages.items()
        for row in page.connections
    ]
    notes = [
        f"{node}: {page.total - len(page.connections)} more: --limit 0 shows all"
        for node, page in pages.items()
        if page.total > len(page.connections)
    ]
    columns = (
        "NODE", "PROTO", "CLIENT", "FRONTEND", "BACKEND", "STATE", "AGE", "IDLE",
        "PACKETS OUT / BACK", "OCTETS OUT / BACK",
    )  # fmt: skip
    return View(plain, "Connections", columns, rows, notes)


def _maglev(by_node: ByNode, _names: Names) -> View:
    said = {n: msgspec.convert(tables, list[TableRow]) for n, tables in by_node.items()}
    plain = [{"node": node, **asdict(row)} for node, tables in said.items() for row in tables]
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    first: dict[tuple[str, str], TableRow] = {}
    notes: list[str] = []
    for node, tables in said.items():
        for table in tables:
            key = table.frontend, table.digest
            alike[key].append(node)
            first.setdefault(key, table)
            note = f"{table.frontend}: this client gets {table.chosen}"
            if table.chosen and note not in notes:
                notes.append(note)
    rows = [
        (", ".join(alike[key]), *key, backend, str(slots), f"{slots / table.size:.1%}")
        for key, table in first.items()
        for backend, slots in table.shares.items()
    ]
    columns = ("NODES", "FRONTEND", "DIGEST", "BACKEND", "SLOTS", "SHARE")
    return View(plain, "Maglev tables", columns, rows, notes, differing(said))


_VIEWS: dict[str, Callable[[ByNode, Names], View]] = {
    "list": _frontends,
    "backends": _backends,
    "connections": _connections,
    "maglev": _maglev,
}


def _alike(by_node: Mapping[str, int]) -> str:
    """Return a number that the nodes agree on, else each node's."""
    if len(set(by_node.values())) == 1:
        return str(next(iter(by_node.values())))
    return ", ".join(f"{node} {number}" for node, number in by_node.items())


def _duration(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
