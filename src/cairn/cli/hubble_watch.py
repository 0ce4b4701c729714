"""`cairn hubble watch peers`: the nodes that a server knows, as they come and go.

peer.ChangeNotification after notification  ->  lines | JSON lines, until Ctrl-C
"""

import argparse
import sys
from typing import Any

from cairn.cli.hubble_reach import add_reach, reach
from cairn.hubble.client import NoAnswer
from cairn.hubble.present_json import to_line
from cairn.hubble.present_words import enum_name

OK, FAILED, USAGE = 0, 1, 2


def main(argv: list[str]) -> int:
    """Print each change until Ctrl-C; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="cairn hubble watch", description="Print peers as they come and go."
    )
    parser.add_argument("what", choices=("peers",), metavar="peers")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    add_reach(parser)
    options = parser.parse_args(argv)
    spell = to_line if options.output == "json" else peer_line
    try:
        with reach(options) as hubble:
            for change in hubble.peers():
                print(spell(change), flush=True)
    except NoAnswer as error:
        print(f"cairn hubble watch: {error}", file=sys.stderr)
        return USAGE if error.wrong_question else FAILED
    except KeyboardInterrupt:
        return OK
    return OK


def peer_line(change: Any) -> str:
    """Return a change as upstream's CLI says it."""
    kind = enum_name("peer.ChangeNotificationType", change.type)
    tls = f" (TLS: {change.tls.server_name})" if change.tls.server_name else ""
    return f"{kind:<13} {change.address} {change.name}{tls}"
