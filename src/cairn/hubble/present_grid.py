"""Rows under a header, in columns that are wide enough for what comes.

    rows, some at a time  ->  lines

Invariants  The header comes once, before the first row. Columns grow and never shrink: rows that
            are given together stand under each other.
"""

from collections.abc import Sequence

GAP = 2


class Grid:
    """A table that is written while its rows come."""

    def __init__(self, header: Sequence[str], widths: Sequence[int]) -> None:
        """Take the columns' names and how wide all but the last are at least."""
        self._header = tuple(header)
        self._widths = [max(width, len(name)) for width, name in zip(widths, header, strict=False)]
        self._begun = False

    def lines(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """Return the lines of rows, after the header's if they are the first."""
        for row in rows:
            for at, width in enumerate(self._widths):
                if len(row[at]) > width:
                    self._widths[at] = len(row[at])
        found = [] if self._begun or not rows else [self._line(self._header)]
        self._begun = self._begun or bool(rows)
        return found + [self._line(row) for row in rows]

    def _line(self, row: Sequence[str]) -> str:
        padded = [cell.ljust(width + GAP) for cell, width in zip(row, self._widths, strict=False)]
        return "".join([*padded, *row[len(self._widths) :]])
