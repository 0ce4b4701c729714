"""Label selectors of flow filters, over labels as Hubble writes them.

    "k8s:app in (web, api), !reserved:host"  ->  LabelSelector  ->  matches(labels)

A key without a source (`app`) is looked for in every source. A label of several sources: any.

Standards   Kubernetes label selectors as text (=, ==, !=, in, notin, exists, !, >, <)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cairn.flow.bad_filter import BadFilter

_KEY = re.compile(r"\s*(!?)\s*((?:[a-z0-9]+:)?[^\s=!,()<>]+)\s*")
_EQUALS = re.compile(r"(==|=|!=)\s*([^\s=!,()<>]*)\s*")
_SET = re.compile(r"(in|notin)\s*\(([^()]*)\)\s*")
_ORDER = re.compile(r"([<>])\s*(-?\d{1,18})\s*")
LONGEST = 4096


@dataclass(frozen=True, slots=True)
class _Requirement:
    source: str
    key: str
    relation: str
    """exists, !exists, in, notin, <, >."""
    values: frozenset[str] = frozenset()

    def matches(self, labels: Sequence[tuple[str, str, str]]) -> bool:
        """Return whether labels (source, key, value) satisfy it."""
        found = [
            value
            for source, key, value in labels
            if key == self.key and self.source in ("", "any", source)
        ]
        match self.relation:
            case "exists":
                return bool(found)
            case "!exists":
                return not found
            case "in":
                return any(value in self.values for value in found)
            case "notin":
                return not any(value in self.values for value in found)
        return any(_in_order(value, self.relation, next(iter(self.values))) for value in found)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that must all hold."""

    requirements: tuple[_Requirement, ...]

    def matches(self, labels: Sequence[tuple[str, str, str]]) -> bool:
        """Return whether labels, as `split_label` returns them, satisfy all."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def split_label(text: str) -> tuple[str, str, str]:
    """Return source, key and value of `k8s:app=web`, `reserved:world`."""
    key, _, value = text.partition("=")
    source, colon, rest = key.partition(":")
    return (source, rest, value) if colon else ("", key, value)


def parse_label_selector(text: str) -> LabelSelector:
    """Return the selector that a text spells; raises BadFilter."""
    if len(text) > LONGEST:
        raise BadFilter(f"a label selector of {len(text)} characters, limit {LONGEST}")
    found: list[_Requirement] = []
    at = 0
    while text[at:].strip():
        requirement, at = _requirement(text, at)
        found.append(requirement)
        if at < len(text):
            if text[at] != "," or not text[at + 1 :].strip():
                raise _bad(text, at)
            at += 1
    return LabelSelector(tuple(found))


def _requirement(text: str, at: int) -> tuple[_Requirement, int]:
    head = _KEY.match(text, at)
    if head is None:
        raise _bad(text, at)
    source, colon, key = head[2].partition(":")
    source, key = (source, key) if colon else ("", head[2])
    at = head.end()
    if head[1]:
        return _Requirement(source, key, "!exists"), at
    if equals := _EQUALS.match(text, at):
        relation = "notin" if equals[1] == "!=" else "in"
        return _Requirement(source, key, relation, frozenset({equals[2]})), equals.end()
    if members := _SET.match(text, at):
        values = frozenset(value.strip() for value in members[2].split(","))
        return _Requirement(source, key, members[1], values), members.end()
    if order := _ORDER.match(text, at):
        return _Requirement(source, key, order[1], frozenset({order[2]})), order.end()
    return _Requirement(source, key, "exists"), at


def _in_order(value: str, relation: str, bound: str) -> bool:
    try:
        number = int(value)
    except ValueError:
        return False
    return number > int(bound) if relation == ">" else number < int(bound)


def _bad(text: str, at: int) -> BadFilter:
    return BadFilter(
        f"label selector {text!r} is not understood at character {at + 1}: "
        "write key, !key, key=value, key!=value, key in (a, b)"
    )
