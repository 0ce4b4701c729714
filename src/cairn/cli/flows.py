"""`cairn flows`: asks the relay's history of all flows.

    arguments  ->  Question  ->  the relay  ->  table | JSON | YAML | JSON lines

Invariants  Exit status 0: there was an answer, with or without rows; 1: there was none; 2: wrong
            usage.
"""

import argparse
import sys
import time

from cairn.cli.durations import duration
from cairn.cli.flows_show import FORMS, show_answer, show_status
from cairn.cli.relay_pod import LOOK
from cairn.cli.relay_reach import add_reach, answer_exec, reach
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess
from cairn.flow.record import read_time
from cairn.relay.history.question import DEFAULT_LIMIT, TOPS, BadQuestion, Question, check_words
from cairn.relay.history_client import NoHistory

OK, FAILED, USAGE = 0, 1, 2
PEER = "POD, NS/POD, NS/, address, network, name or label (app=web); may be repeated"


def main(argv: list[str]) -> int:
    """Ask one question; return the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.question:
        return answer_exec(options)
    try:
        question = None if options.status else _question(options)
        answer = reach(options, question)
    except BadQuestion as error:
        return _complain(error, USAGE)
    except NoHistory as error:
        return _complain(error, USAGE if error.wrong_question else FAILED)
    except ApiError as error:
        return _complain(f"{error}; is the relay there? {LOOK}", FAILED)
    except NoAccess as error:
        return _complain(error, FAILED)
    if question is None:
        show_status(answer, options.output)
    else:
        show_answer(answer, question, options.output)
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cairn flows", description="Ask the relay's history of all flows."
    )
    add = parser.add_argument
    add("--since", type=moment, metavar="24h", help="from then on: 90s, 5m, 24h, 7d, or RFC 3339")
    add("--until", type=moment, metavar="1h", help="before then, likewise")
    add("--from", dest="sources", action="append", default=[], metavar="PEER", help=PEER)
    add("--to", dest="destinations", action="append", default=[], metavar="PEER", help=PEER)
    add("--port", dest="ports", action="append", type=int, default=[], help="of the destination")
    add("--protocol", dest="protocols", action="append", default=[], help="tcp, udp, icmpv4, …")
    add("--verdict", dest="verdicts", action="append", default=[], help="forwarded, dropped, …")
    add("--dropped", action="store_true", help="the same as --verdict dropped")
    add("--policy", dest="policies", action="append", default=[], help="that decided: NS/NAME")
    add("--top", default="", choices=("", *TOPS), metavar="|".join(TOPS), help="count by these")
    add("--by", default="", metavar="COLUMN,…", help="count by any columns")
    add("--sql", default="", metavar="SELECT", help="one SELECT over the view flows")
    add("--limit", type=int, default=DEFAULT_LIMIT, help=f"rows at most ({DEFAULT_LIMIT})")
    add("--status", action="store_true", help="what the history holds, and whether it goes on")
    add("-o", "--output", choices=FORMS, default="table")
    add("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
    add("--question", help=argparse.SUPPRESS)
    add_reach(parser)
    return parser


def _question(options: argparse.Namespace) -> Question:
    """Return what is asked; raises BadQuestion."""
    verdicts = [*options.verdicts, *(["DROPPED"] if options.dropped else [])]
    question = Question(
        since_us=options.since,
        until_us=options.until,
        sources=tuple(options.sources),
        destinations=tuple(options.destinations),
        ports=tuple(options.ports),
        protocols=tuple(options.protocols),
        verdicts=tuple(verdicts),
        policies=tuple(options.policies),
        top=options.top,
        by=tuple(word for word in options.by.split(",") if word),
        sql=options.sql,
        limit=options.limit,
        picture=options.output == "table" and not options.sql,
    )
    check_words(question)
    return question


def moment(text: str) -> int:
    """Return the time that `24h` (ago) or RFC 3339 spells, in microseconds since 1970."""
    try:
        return int(read_time(text).timestamp() * 1_000_000)
    except ValueError:
        pass
    try:
        ago = duration(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 90s, 5m, 24h, 7d, or 2026-01-31T03:12:00Z"
        ) from None
    return int((time.time() - ago.total_seconds()) * 1_000_000)


def _complain(text: object, status: int) -> int:
    print(f"cairn flows: {text}", file=sys.stderr)
    return status
