"""`hubble …`: the same as `cairn hubble …`, by the name that upstream's command has.

sys.argv  ->  cairn.cli.main
"""

import sys

from cairn.cli.main import main as cairn


def main() -> int:
    """Run the command and return its exit status."""
    return cairn(["hubble", *sys.argv[1:]])
