"""What people read while a lab comes up: one line a step, with its time; tables at the end.

step, elapsed  ->  a line;  rows  ->  a table
"""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

Row = Sequence[str]
_WIDE = 240
"""Columns of a file or pipe: nothing is folded there."""


class Screen:
    """Standard output, with a clock that starts at the first line."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stdout, highlight=False, soft_wrap=True, emoji=False)
        if not self.console.is_terminal:
            self.console.width = _WIDE
        self._began = time.monotonic()

    def line(self, text: str) -> None:
        """Print a line that stands for itself."""
        self.console.print(text, markup=False)

    def done(self, text: str) -> None:
        """Print what has been reached, and when."""
        self.line(f"{self.elapsed_s():6.1f} s  {text}")

    def elapsed_s(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show what is being done while it is, and the line for good once it is done."""
        if not self.console.is_terminal:
            yield
        else:
            with self.console.status(f"{text} …"):
                yield
        self.done(text)

    def table(self, title: str, columns: Row, rows: Sequence[Row]) -> None:
        """Print rows under headings; an empty table is not printed."""
        if not rows:
            return
        table = Table(box=None, pad_edge=False)
        for column in columns[:-1]:
            table.add_column(column, no_wrap=True)
        table.add_column(columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*row)
        if title:
            self.line(title)
        with self.console.capture() as drawn:
            self.console.print(table, soft_wrap=False)
        for text in drawn.get().splitlines():
            self.line(text.rstrip())
