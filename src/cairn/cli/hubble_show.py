"""Writes responses to the terminal: flows to standard output, notices to standard error.

batches of GetFlowsResponse  ->  text; how many flows there were
"""

import os
import sys
from collections.abc import Iterable
from typing import Any

from cairn.hubble.present_colour import coloured, plain
from cairn.hubble.present_flows import FORMS, Style, notice
from cairn.hubble.present_time import FORMATS

NAME = "cairn hubble observe"


def style_of(options: Any) -> Style:
    """Return how the options want flows to look."""
    wants_colour = options.color == "always" or (
        options.color == "auto" and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    )
    return Style(
        names=options.ip_translation and not options.numeric,
        node=options.print_node_name,
        policies=options.print_policy_names,
        time=FORMATS.get(options.time_format),
        paint=coloured if wants_colour else plain,
    )


def show(batches: Iterable[list[Any]], options: Any) -> int:
    """Print all that comes; return how many flows there were."""
    spell = FORMS[options.output](style_of(options))
    whole = options.output.startswith("json")
    count = 0
    for batch in batches:
        flows = [one for one in batch if one.WhichOneof("response_types") == "flow"]
        count += len(flows)
        sys.stdout.write(spell(batch if whole else flows))
        sys.stdout.flush()
        if len(flows) < len(batch):
            _notices(batch)
    return count


def _notices(batch: list[Any]) -> None:
    for response in batch:
        if line := notice(response):
            print(line, file=sys.stderr, flush=True)


def complain(text: object, status: int = 0) -> int:
    """Say what is wrong in one line; return the status."""
    print(f"{NAME}: {' '.join(str(text).split())}", file=sys.stderr, flush=True)
    return status
