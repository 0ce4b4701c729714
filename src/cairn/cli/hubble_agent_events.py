"""`cairn hubble observe agent-events`: what a node's agent did.

arguments  ->  GetAgentEventsRequest  ->  lines | JSON lines
"""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cairn.cli.hubble_options import add_span, span_of
from cairn.cli.hubble_reach import add_reach, reach
from cairn.cli.hubble_show import complain
from cairn.hubble.client import NoAnswer
from cairn.hubble.client_request import spanned
from cairn.hubble.client_values import BadFlag
from cairn.hubble.present_agent_events import agent_event_line
from cairn.hubble.present_json import to_line
from cairn.hubble.present_time import FORMATS

OK, FAILED, USAGE = 0, 1, 2


def main(argv: list[str]) -> int:
    """Print each event; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="cairn hubble observe agent-events",
        description="Show what an agent did. A relay has none: ask a node, with --server.",
    )
    add_span(parser)
    parser.add_argument("-o", "--output", choices=("compact", "json", "jsonpb"), default="compact")
    parser.add_argument("--time-format", choices=tuple(FORMATS), default="StampMilli")
    add_reach(parser)
    options = parser.parse_args(argv)
    try:
        name = "observer.GetAgentEventsRequest"
        request = spanned(name, span_of(options), datetime.now(UTC))
        with reach(options) as hubble:
            for line in _lines(hubble.agent_events(request), options):
                print(line, flush=True)
    except BadFlag as error:
        return complain(error, USAGE)
    except NoAnswer as error:
        return complain(error, USAGE if error.wrong_question else FAILED)
    except KeyboardInterrupt:
        return OK if options.follow else 130
    return OK


def _lines(responses: Iterator[Any], options: argparse.Namespace) -> Iterator[str]:
    for response in responses:
        if options.output == "compact":
            yield agent_event_line(response, FORMATS[options.time_format])
        else:
            yield to_line(response)
