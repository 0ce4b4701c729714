"""Flags of `observe` as the filters that Hubble's API takes.

    Word after Word  ->  Chosen(allow, deny): flow.FlowFilter; contradictions: BadFlag

Values of one flag are alternatives, and different flags all hold. A flag for either end makes two
filters: one with it at the source, one with it at the destination. What stands after `--not` goes
to the filters of which none may hold.

Not here    what a value means (client_values.py), what a filter matches (the server)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from cairn.hubble.client_flags import FLAGS, SIDES, Word
from cairn.hubble.client_values import BadFlag
from cairn.hubble.proto import message

IN_NAMESPACE = ("pod", "service")
"""Flags whose values `--namespace` completes."""
EITHER = ("source", "destination")
_POD = next(flag for flag in FLAGS if flag.name == "pod")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which flows are wanted."""

    allow: tuple[Any, ...] = ()
    """Any of them must hold; none: all flows."""
    deny: tuple[Any, ...] = ()
    """None of them may hold."""


def choose(words: Sequence[Word], *, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> Chosen:
    """Return the filters; `allow` and `deny` are filters as JSON. Raises BadFlag."""
    return Chosen(
        (*read_filters(allow), *_filters([word for word in words if not word.negated])),
        (*read_filters(deny), *_filters([word for word in words if word.negated])),
    )


def read_filters(texts: Iterable[str]) -> list[Any]:
    """Return filters that JSON spells; raises BadFlag."""
    found = []
    for text in texts:
        try:
            found.append(json_format.Parse(text, message("flow.FlowFilter")()))
        except (json_format.ParseError, UnicodeError, RecursionError) as error:
            why = " ".join(str(error).split())
            raise BadFlag(f"{text[:80]!r} is no filter: {why}") from None
    return found


def _filters(words: Sequence[Word]) -> list[Any]:
    if not words:
        return []
    _check(words)
    completed = _completed(words)
    made = [message("flow.FlowFilter")()]
    if any(word.flag.ends and not word.side for word in completed):
        made.append(message("flow.FlowFilter")())
    for word in completed:
        for side, one in zip(EITHER, made, strict=False):
            _add(one, word, side)
    return made


def _add(made: Any, word: Word, side: str) -> None:
    """Add a flag's values; `side` is where one for either end goes."""
    flag = word.flag
    if flag.ends:
        end = SIDES[word.side] if word.side else side
        field = getattr(made, f"{end}_{flag.field}")
    elif flag.field == "cel_expression":
        field = made.experimental.cel_expression
    else:
        field = getattr(made, flag.field)
    for value in _values(word):
        try:
            read = flag.read(value)
        except BadFlag as error:
            raise BadFlag(f"{word.spelt}: {error}") from None
        if read not in field:
            field.append(read)


def _values(word: Word) -> list[str]:
    return [part.strip() for part in word.value.split(",")] if word.flag.split else [word.value]


def _check(words: Sequence[Word]) -> None:
    """Refuse what cannot be meant: an end and either end of one thing."""
    given = {(word.flag.name, word.side): word for word in words if word.flag.ends}
    for (name, side), word in given.items():
        either = given.get((name, ""))
        if side and either:
            raise BadFlag(f"{word.spelt} and {either.spelt} cannot be combined: which end is it?")


def _completed(words: Sequence[Word]) -> list[Word]:
    """Return the words with namespaces put into pods and services, or as pods if there are none."""
    namespaces: dict[str, list[str]] = {}
    for word in words:
        if word.flag.name == "namespace":
            namespaces.setdefault(word.side, []).extend(_values(word))
    found: list[Word] = []
    used: set[str] = set()
    for word in words:
        if word.flag.name in IN_NAMESPACE:
            asked = [side for side in (word.side, "") if side in namespaces]
            if not word.side and not asked and namespaces:
                side = next(iter(namespaces))
                raise BadFlag(
                    f"--{side}-namespace and {word.spelt} cannot be combined: which end is it?"
                )
            used.update(asked[:1])
            known = namespaces[asked[0]] if asked else []
            found.append(_in_namespaces(word, known))
        elif word.flag.name != "namespace":
            found.append(word)
    return found + [
        _as_pods(word) for word in words if word.flag.name == "namespace" and word.side not in used
    ]


def _in_namespaces(word: Word, namespaces: Sequence[str]) -> Word:
    if not namespaces:
        return word
    values: list[str] = []
    for value in _values(word):
        namespace, slash, _ = value.partition("/")
        if not slash:
            values += [f"{one}/{value}" for one in namespaces]
        elif namespace in namespaces:
            values.append(value)
        else:
            raise BadFlag(f"{word.spelt} {value} is not in namespace {', '.join(namespaces)}")
    return Word(word.flag, word.side, ",".join(values), word.negated)


def _as_pods(word: Word) -> Word:
    for value in _values(word):
        if not value or "/" in value:
            raise BadFlag(f"{word.spelt}: {value!r} is no namespace")
    return Word(_POD, word.side, ",".join(f"{value}/" for value in _values(word)), word.negated)


def spell_filters(chosen: Chosen) -> str:
    """Return the filters as text, each as `--allowlist` and `--denylist` take it."""
    lines: list[str] = []
    for name, filters in (("allowlist", chosen.allow), ("denylist", chosen.deny)):
        if filters:
            lines.append(f"{name}:")
            lines += [f"- '{_quoted(one)}'" for one in filters]
    return "".join(f"{line}\n" for line in lines)


def _quoted(one: Any) -> str:
    spelt: str = json_format.MessageToJson(one, preserving_proto_field_name=True, indent=None)
    return spelt.replace("'", "''")
