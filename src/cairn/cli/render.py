"""What commands that read share: where the cluster is, and rows as a table, JSON or YAML.

rows  ->  text on standard output
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml
from rich.console import Console
from rich.table import Table

from cairn.lab.state import DEFAULT_NAME, Lab

FORMS = ("table", "json", "yaml")
"""What `-o` takes."""
PIPE_COLUMNS = 240


def spell(plain: Any, form: str) -> str:
    """Return plain values as JSON or YAML."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n"
    builtins: str = yaml.safe_dump(msgspec.to_builtins(plain), sort_keys=False)
    return builtins


def lab_kubeconfig() -> str | None:
    """Return the lab's kubeconfig, unless $KUBECONFIG names one or no lab runs."""
    path = Lab(DEFAULT_NAME).kubeconfig
    return None if "KUBECONFIG" in os.environ or not path.exists() else str(path)


def make_console() -> Console:
    """Return where tables go: a pipe has no width, and what is cut cannot be found by grep.

    No word between colons becomes a picture: it is part of an IPv6 address.
    """
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    return Console(width=width, emoji=False)


def show_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> None:
    """Print a titled table; without rows, that there are none."""
    console.print(f"\n[bold]{title}[/]" + ("" if rows else ": none"))
    if rows:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        for column in columns:
            table.add_column(column, no_wrap=column != "BLOCKS")
        for row in rows:
            table.add_row(*row)
        console.print(table)
