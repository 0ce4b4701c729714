"""`cairn hubble observe`: shows flows, chosen by the flags of upstream's command.

    arguments  ->  GetFlowsRequest  ->  server | file  ->  lines

Invariants  Exit status 0: there was an answer, with or without flows; 1: there was none; 2: wrong
            usage. Ctrl-C ends --follow with 0.
"""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cairn.cli.hubble_known import warn_of_unknown
from cairn.cli.hubble_options import make_parser, span_of
from cairn.cli.hubble_pump import batches
from cairn.cli.hubble_reach import reach
from cairn.cli.hubble_show import complain, show
from cairn.flow.bad_filter import BadFilter
from cairn.hubble.client import NoAnswer
from cairn.hubble.client_file import BadLine, read_lines, select
from cairn.hubble.client_filter import Chosen, choose, spell_filters
from cairn.hubble.client_match import matcher
from cairn.hubble.client_request import make_request
from cairn.hubble.client_values import BadFlag

OK, FAILED, USAGE = 0, 1, 2


def main(argv: list[str]) -> int:
    """Show flows; return the exit status."""
    options = make_parser().parse_args(argv)
    try:
        chosen, request = _asked(options)
        if options.raw_filters:
            print(spell_filters(chosen), end="")
            return OK
        if options.input_file:
            return _from_file(options, chosen, request)
        with _ended_by_signals():
            return _from_server(options, chosen, request)
    except (BadFlag, BadFilter) as error:
        return complain(error, USAGE)
    except NoAnswer as error:
        return complain(error, USAGE if error.wrong_question else FAILED)
    except KeyboardInterrupt:
        return OK if options.follow else 130


def _asked(options: argparse.Namespace) -> tuple[Chosen, Any]:
    """Return the filters and the request; raises BadFlag."""
    if options.negated:
        raise BadFlag("--not stands before no filter")
    if options.all_namespaces and any(word.flag.name == "namespace" for word in options.words):
        raise BadFlag("--all-namespaces and --namespace cannot be combined")
    if options.input_file and options.follow:
        raise BadFlag("--input-file and --follow cannot be combined: a file has no more to come")
    chosen = choose(options.words, allow=options.allowlist, deny=options.denylist)
    fields = [one.strip() for word in options.fields for one in word.split(",")]
    request = make_request(span_of(options), chosen, fields, datetime.now(UTC))
    if options.debug:
        complain(f"asks for {' '.join(str(request).split())}")
    return chosen, request


def _from_server(options: argparse.Namespace, chosen: Chosen, request: Any) -> int:
    with reach(options) as hubble:
        if options.debug:
            complain(f"asks {hubble.address}")
        if options.follow:
            warn_of_unknown(hubble, chosen, options.kubeconfig, later=True)
        count = show(batches(hubble.flows(request)), options)
        if not count:
            warn_of_unknown(hubble, chosen, options.kubeconfig)
    return OK


def _from_file(options: argparse.Namespace, chosen: Chosen, request: Any) -> int:
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


@contextlib.contextmanager
def _ended_by_signals(numbers: Sequence[signal.Signals] = (signal.SIGTERM,)) -> Iterator[None]:
    """Have a signal end the command as Ctrl-C does, so that nothing of it stays behind."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
