"""`cairn hubble COMMAND …`: flows as upstream's `hubble` shows them.

    argv  ->  COMMANDS  ->  module:main(argv)  ->  exit status

Invariants  Exit status 0: it holds; 1: it does not; 2: wrong usage.
"""

import importlib
import sys
from dataclasses import dataclass

OK, USAGE = 0, 2


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `cairn hubble`."""

    name: str
    """What the user types."""
    module: str
    """Module whose `main(argv)` runs it."""
    help: str
    """One line for the overview."""


COMMANDS = (
    Command("observe", "cairn.cli.hubble_observe", "flows: who, whom, what became of it"),
    Command("status", "cairn.cli.hubble_status", "whether the relay is well, what it holds"),
    Command("list", "cairn.cli.hubble_list", "nodes or namespaces that flows come from"),
    Command("watch", "cairn.cli.hubble_watch", "peers as they come and go"),
    Command("enable", "cairn.cli.hubble_enable", "start the relay in the cluster"),
    Command("disable", "cairn.cli.hubble_disable", "remove the relay from the cluster"),
)


def main(argv: list[str]) -> int:
    """Run the command that `argv` names; return the exit status."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return OK if argv else USAGE
    for command in COMMANDS:
        if command.name == argv[0]:
            return int(importlib.import_module(command.module).main(argv[1:]))
    names = ", ".join(command.name for command in COMMANDS)
    print(f"cairn hubble: unknown command {argv[0]!r}: use one of {names}", file=sys.stderr)
    return USAGE


def overview() -> str:
    """Return the help text."""
    lines = ["usage: cairn hubble COMMAND [OPTIONS]", "", "commands:"]
    return "\n".join(lines + [f"  {c.name:<9} {c.help}" for c in COMMANDS])
