"""Sets of names, as policies write them: names, and patterns with `*`.

    ("*.example.com", "api.test")  ->  NameSet.holds("www.example.com")

A `*` stands for any characters of one label, none too; `**.` in front for one label or more; `*`
alone is every name. Names are compared in lower case and without the final dot.

Invariants  A name of the longest kind is judged in time in proportion to the pattern's length times
            the name's, whatever the pattern: every star gives way to the nearest match only.
Standards   RFC 4343 (case), cilium.io/v2 matchName and matchPattern
"""

import re
from collections.abc import Iterable

EVERY = "*"
LEVELS = "**."
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


class NameSet:
    """Names that any of some names and patterns holds."""

    def __init__(self, rules: Iterable[tuple[str, str]]) -> None:
        """Take pairs (name, pattern), of which one is empty."""
        self._names: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        self.every = False
        """Whether every name is in it."""
        for name, pattern in rules:
            if name:
                self._names.add(fold_text(name))
            elif fold_text(pattern) == EVERY:
                self.every = True
            elif "*" in pattern:
                self._patterns.append(compile_pattern(pattern))
            elif pattern:
                self._names.add(fold_text(pattern))

    def holds(self, name: str) -> bool:
        """Return whether a folded name is in the set."""
        if self.every or name in self._names:
            return True
        return any(pattern.fullmatch(name) for pattern in self._patterns)


class Selection:
    """Which of many selectors, by number, a name belongs to."""

    def __init__(self, selectors: Iterable[tuple[str, str, int]]) -> None:
        """Take triples (name, pattern, number)."""
        self._names: dict[str, list[int]] = {}
        self._patterns: list[tuple[re.Pattern[str], int]] = []
        for name, pattern, number in selectors:
            if name or "*" not in pattern:
                self._names.setdefault(fold_text(name or pattern), []).append(number)
            else:
                self._patterns.append((compile_pattern(pattern), number))

    def of(self, name: str) -> tuple[int, ...]:
        """Return the numbers that a folded name belongs to, ascending."""
        found = {number for pattern, number in self._patterns if pattern.fullmatch(name)}
        return tuple(sorted(found.union(self._names.get(name, ()))))
