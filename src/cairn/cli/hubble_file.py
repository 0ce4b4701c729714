"""`cairn hubble observe --input-file`: flows that were saved, by the same flags.

file of JSON lines, Chosen, GetFlowsRequest  ->  lines; exit status
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cairn.cli.hubble_pump import batches
from cairn.cli.hubble_show import complain, show
from cairn.hubble.client_file import BadLine, read_lines, select
from cairn.hubble.client_filter import Chosen
from cairn.hubble.client_match import matcher

OK, FAILED = 0, 1


def observe_file(options: argparse.Namespace, chosen: Chosen, request: Any) -> int:
    """Show the flows of a file; return the exit status. Raises BadFilter."""
    matches = matcher(chosen)
    if request.number and not _limited(options):
        request.number = 0
    try:
        with _opened(options.input_file) as lines:
            responses = select(read_lines(lines), request, matches)
            show(batches(_masked(responses, request)), options)
    except BadLine as error:
        return complain(f"{options.input_file}: {error}", FAILED)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        return complain(f"{options.input_file}: {error.strerror}", FAILED)
    return OK


def _limited(options: argparse.Namespace) -> bool:
    """Return whether the user said how many; a file is read whole unless he does."""
    return bool(options.first or options.last)


@contextlib.contextmanager
def _opened(name: str) -> Iterator[Any]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as lines:
        yield lines


def _masked(responses: Iterator[Any], request: Any) -> Iterator[Any]:
    """Yield the responses with the fields of their flows that were asked for."""
    for response in responses:
        if request.field_mask.paths and response.HasField("flow"):
            whole = type(response.flow)()
            whole.CopyFrom(response.flow)
            response.flow.Clear()
            request.field_mask.MergeMessage(whole, response.flow)
        yield response
