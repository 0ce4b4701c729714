"""Options of `cairn hubble observe`, and what they come to.

argv  ->  options with `words`: Word after Word, in the order in which they were given
"""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from cairn.cli.hubble_reach import add_reach
from cairn.hubble.client_flags import FLAGS, SIDES, Flag, Word
from cairn.hubble.client_request import LAST, Span
from cairn.hubble.present_flows import FORMS
from cairn.hubble.present_time import FORMATS

COLOURS = ("auto", "always", "never")
OF_SIDE = {"": "at either end", "from": "at the source", "to": "at the destination"}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line: there are more options than a usage line can hold."""

    def error(self, message: str) -> NoReturn:
        """Say it, and end."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see --help)\n")


class _Chooses(argparse.Action):
    """Keeps a flag that chooses flows, with the `--not` before it."""

    def __call__(
        self,
        _: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        flag, side = self.const
        value = values if isinstance(values, str) and values else flag.constant
        namespace.words.append(Word(flag, side, value, namespace.negated))
        namespace.negated = False


def make_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = _Parser(
        prog="cairn hubble observe",
        description="Show flows. Values of one flag are alternatives (comma or repeated); "
        "different flags must all hold; --not before a flag turns it round.",
        allow_abbrev=False,
    )
    parser.set_defaults(words=[], negated=False)
    add_span(parser)
    parser.add_argument("--input-file", default="", metavar="FILE",
        help="read flows from a file that `-o jsonpb` wrote; - is standard input")  # fmt: skip
    _add_form(parser)
    _add_filters(parser)
    add_reach(parser)
    return parser


def span_of(options: argparse.Namespace) -> Span:
    """Return which flows are asked for."""
    return Span(
        options.last, options.first, options.all, options.since, options.until, options.follow
    )


def add_span(parser: argparse.ArgumentParser) -> None:
    """Add which of many are asked for."""
    add = parser.add_argument_group("how many, and when").add_argument
    add("--last", type=_count, default=0, metavar="N", help=f"the newest ({LAST})")
    add("--first", type=_count, default=0, metavar="N", help="the oldest")
    add("--all", action="store_true", help="all that are kept")
    add("--since", default="", metavar="TIME", help="from then on: 5m, 1h30m, or RFC 3339")
    add("--until", default="", metavar="TIME", help="until then, likewise")
    add("-f", "--follow", action="store_true", help="go on with those to come")


def _add_form(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how they are shown").add_argument
    add("-o", "--output", choices=tuple(FORMS), default="columns")
    add("--time-format", choices=tuple(FORMATS), default="", help="default: as the form has it")
    add("--print-node-name", action="store_true", help="where each was seen")
    add("--print-policy-names", action="store_true", help="policies that let it through, too")
    add("--numeric", action="store_true", help="addresses, not names")
    add("--ip-translation", type=_bool, default=True, nargs="?", const=True, metavar="BOOL",
        help="false: the same as --numeric")  # fmt: skip
    add("--color", choices=COLOURS, default="auto", help="default: on a terminal")
    add("--field-mask", "--experimental-field-mask", dest="fields", action="append", default=[],
        metavar="FIELD,…", help="fields to ask for: time,source.pod_name,verdict")  # fmt: skip
    add("--raw-filters", "--print-raw-filters", dest="raw_filters", action="store_true",
        help="print the filters as JSON, and ask nothing")  # fmt: skip
    add("-D", "--debug", action="store_true", help="tell what is asked, and where")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which flows")
    group.add_argument("--not", dest="negated", action="store_true", help="not the next flag's")
    group.add_argument("--allowlist", action="append", default=[], metavar="JSON",
                       help="of this flow.FlowFilter")  # fmt: skip
    group.add_argument("--denylist", action="append", default=[], metavar="JSON",
                       help="not of this flow.FlowFilter")  # fmt: skip
    group.add_argument("-A", "--all-namespaces", action="store_true", help="of any (default)")
    for flag in FLAGS:
        for side in SIDES if flag.ends else ("",):
            _add_flag(group, flag, side)


def _add_flag(group: Any, flag: Flag, side: str) -> None:
    name = f"--{side}-{flag.name}" if side else f"--{flag.name}"
    names = [f"-{flag.short}", name] if flag.short and not side else [name]
    more: dict[str, Any] = {"metavar": flag.shown}
    if flag.constant:
        more = {"nargs": "?", "metavar": flag.shown} if flag.shown else {"nargs": 0}
    told = f"{flag.help}, {OF_SIDE[side]}" if flag.ends else flag.help
    group.add_argument(*names, action=_Chooses, dest="words", const=(flag, side),
                       default=argparse.SUPPRESS, help=told, **more)  # fmt: skip


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of flows from 1 on")
    return int(text)


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"
