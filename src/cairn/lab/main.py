"""`cairn lab …`: find the command's module by name and run it.

    argv  ->  DIRECT | commands  ->  exit status

Invariants  Modules are found by name, so that a kubelet does not load what `up` needs.
            0: it holds; 1: it does not, with one line on standard error; 2: wrong usage.
Not here    The commands that people type (commands.py).
"""

import importlib
import sys

from cairn.lab.state import WrongUsage

USAGE = 2

DIRECT = {
    "supervise": "cairn.lab.supervisor",
    "kubelet": "cairn.lab.kubelet.main",
    "controllers": "cairn.lab.controllers.main",
    "dns": "cairn.lab.dns",
    "exec": "cairn.lab.exec_command",
}
"""Command -> module whose `main(argv)` runs it; `exec` is here to start at once."""

COMMANDS = "cairn.lab.commands"


def main(argv: list[str]) -> int:
    """Run one command of `cairn lab`; return its exit status."""
    direct = bool(argv) and argv[0] in DIRECT
    module = importlib.import_module(DIRECT[argv[0]] if direct else COMMANDS)
    try:
        return int(module.main(argv[1:] if direct else argv) or 0)
    except WrongUsage as error:
        sys.stderr.write(f"cairn lab: {error}\n")
        return USAGE
