"""`cairn hubble observe`: shows flows, chosen by the flags of upstream's command.

    arguments  ->  GetFlowsRequest  ->  server | file  ->  lines

Invariants  Exit status 0: there was an answer, with or without flows; 1: there was none; 2: wrong
            usage. Ctrl-C ends --follow with 0.
"""

import argparse
import contextlib
import importlib
import signal
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from cairn.cli.hubble_known import warn_of_unknown
from cairn.cli.hubble_options import make_parser, span_of
from cairn.cli.hubble_pump import batches
from cairn.cli.hubble_reach import reach
from cairn.cli.hubble_show import complain, show
from cairn.flow.bad_filter import BadFilter
from cairn.hubble.client import NoAnswer
from cairn.hubble.client_filter import Chosen, choose, spell_filters
from cairn.hubble.client_request import make_request
from cairn.hubble.client_values import BadFlag

OK, FAILED, USAGE = 0, 1, 2


def main(argv: list[str]) -> int:
    """Show flows; return the exit status."""
    if argv[:1] == ["agent-events"]:
        return int(importlib.import_module("cairn.cli.hubble_agent_events").main(argv[1:]))
    if argv[:1] == ["flows"]:
        argv = argv[1:]
    options = make_parser().parse_args(argv)
    try:
        chosen, request = _asked(options)
        if options.raw_filters:
            print(spell_filters(chosen), end="")
            return OK
        if options.input_file:
            # By its name: filters of our own need what asking a server does not.
            files: Any = importlib.import_module("cairn.cli.hubble_file")
            return int(files.observe_file(options, chosen, request))
        with ended_by_signals():
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


@contextlib.contextmanager
def ended_by_signals(numbers: Sequence[signal.Signals] = (signal.SIGTERM,)) -> Iterator[None]:
    """Have a signal end the command as Ctrl-C does, so that nothing of it stays behind."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
