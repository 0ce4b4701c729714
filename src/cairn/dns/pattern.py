"""Sets of names, as policies write them: names, and patterns with `*`.

    ("*.example.com", "api.test")  ->  NameSet.holds("www.example.com")

A `*` stands for any characters of one label, none too; `**.` in front for one label or more; `*`
alone is every name. Names are compared in lower case and without the final dot.

Invariants  A name of the longest kind is judged in time in proportion to the pattern's length times
            the name's, whatever the pattern: every star gives way to the nearest match only.
Cost        a few patterns a name, those that end in the same labels
Standards   RFC 4343 (case), cilium.io/v2 matchName and matchPattern
"""

import re
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

EVERY = "*"
LEVELS = "**."
MOST_LABELS = 2
"""By how many last labels patterns are looked up."""
T = TypeVar("T")
_STAR = r"[^.]*"


def fold_text(name: str) -> str:
    """Return a name as it is compared: lower case, without the final dot."""
    return name.lower().removesuffix(".")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the expression that matches, whole, the names that `pattern` means."""
    text = fold_text(pattern)
    if text == EVERY:
        return re.compile(r".*", re.DOTALL)
    front = ""
    if text.startswith(LEVELS):
        front, text = r"(?>[^.]+\.)(?:[^.]+\.)*?", text.removeprefix(LEVELS)
    first, *rest = map(re.escape, re.split(r"\*+", text))
    if not rest:
        return re.compile(front + first)
    # An atomic group that found its literal never tries a later place: the next star takes up
    # whatever lies between, so the nearest is as good as any.
    middle = "".join(f"(?>{_STAR}?{part})" for part in rest[:-1])
    return re.compile(front + first + middle + _STAR + rest[-1])


class _Patterns(Generic[T]):
    """Patterns, each with what it stands for, by the last labels that they name in full."""

    def __init__(self) -> None:
        self._by_end: dict[str, list[tuple[re.Pattern[str], T]]] = {}

    def add(self, pattern: str, value: T) -> None:
        """Add one."""
        text = fold_text(pattern).removeprefix(LEVELS)
        labels = text.rpartition("*")[2].split(".")
        if "*" in text:
            labels = labels[1:]  # the first is the star's, in part
        end = ".".join(labels[-MOST_LABELS:])
        self._by_end.setdefault(end, []).append((compile_pattern(pattern), value))

    def matching(self, name: str) -> Iterator[T]:
        """Yield what stands for patterns that hold a folded name."""
        parts = name.rsplit(".", MOST_LABELS)[-MOST_LABELS:]
        for count in range(len(parts) + 1):
            end = ".".join(parts[len(parts) - count :])
            for expression, value in self._by_end.get(end, ()):
                if expression.fullmatch(name):
                    yield value


class NameSet:
    """Names that any of some names and patterns holds."""

    def __init__(self, rules: Iterable[tuple[str, str]]) -> None:
        """Take pairs (name, pattern), of which one is empty."""
        self._names: set[str] = set()
        self._patterns = _Patterns[bool]()
        for name, pattern in rules:
            if name or (pattern and "*" not in pattern):
                self._names.add(fold_text(name or pattern))
            elif pattern:
                self._patterns.add(pattern, True)

    def holds(self, name: str) -> bool:
        """Return whether a folded name is in the set."""
        return name in self._names or any(self._patterns.matching(name))


class Selection:
    """Which of many selectors, by number, a name belongs to."""

    def __init__(self, selectors: Iterable[tuple[str, str, int]]) -> None:
        """Take triples (name, pattern, number)."""
        self._names: dict[str, list[int]] = {}
        self._patterns = _Patterns[int]()
        for name, pattern, number in selectors:
            if name or "*" not in pattern:
                self._names.setdefault(fold_text(name or pattern), []).append(number)
            else:
                self._patterns.add(pattern, number)

    def of(self, name: str) -> tuple[int, ...]:
        """Return the numbers that a folded name belongs to, ascending."""
        return tuple(sorted({*self._names.get(name, ()), *self._patterns.matching(name)}))
