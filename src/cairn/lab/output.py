"""What a read command of the lab prints: a table for people, JSON or YAML for programs.

form, columns, rows  ->  standard output
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cairn.lab.screen import Screen

FORMS = ("table", "json", "yaml")


def add_form(command: argparse.ArgumentParser) -> None:
    """Add the option `-o`."""
    command.add_argument("-o", "--output", choices=FORMS, default="table", help="(default: table)")


def print_plain(value: Any, form: str) -> None:
    """Print data in one of the forms that programs read."""
    text = json.dumps(value, indent=2) + "\n"
    if form == "yaml":
        text = yaml.safe_dump(json.loads(text), sort_keys=False)
    sys.stdout.write(text)


def print_rows(form: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows; the keys of each stand in the order of the columns."""
    if form != "table":
        print_plain([dict(row) for row in rows], form)
        return
    Screen().table("", columns, [[str(value) for value in row.values()] for row in rows])
