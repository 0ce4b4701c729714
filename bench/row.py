"""One measured figure, and how figures are compared: in rounds that take turns.

    figures of rounds  ->  Row

A busy machine slows two measurements alike only if they are taken close together. So baseline and
subject take turns, each round gives one ratio, and the row tells the median of the ratios and
their spread.

Units       the row's `unit`; a ratio is subject / baseline
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    figure: str
    """What was measured."""
    value: float
    """The median of the rounds, or the one measurement."""
    unit: str
    """Unit of value and baseline."""
    meaning: str
    """What it means to a user."""
    baseline: float | None = None
    """The same of the baseline, measured in the same run."""
    ratio: float | None = None
    """Median of the rounds' ratios."""
    spread: tuple[float, float] | None = None
    """Least and greatest of the rounds' ratios."""
    aim: str = ""
    """What it should be, if there is an aim."""
    met: bool | None = None
    """Whether it is; None without an aim."""


Measure = Callable[[], float]


def take_turns(subject: Measure, baseline: Measure, rounds: int) -> list[tuple[float, float]]:
    """Return (subject, baseline) of each round; who goes first changes from round to round."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            base = baseline()
            pairs.append((subject(), base))
        else:
            pairs.append((subject(), baseline()))
    return pairs


@dataclass(frozen=True, slots=True)
class Aim:
    """What the ratio of subject to baseline should be."""

    limit: float
    """The ratio."""
    at_least: bool = False
    """Whether more is better."""

    def __str__(self) -> str:
        return f"ratio {'≥' if self.at_least else '≤'} {self.limit:g}"

    def met(self, ratio: float) -> bool:
        """Return whether a ratio is good enough."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


def compare(
    figure: str,
    unit: str,
    pairs: Sequence[tuple[float, float]],
    meaning: str,
    aim: Aim | None = None,
) -> Row:
    """Return the row of rounds that took turns."""
    ratios = [subject / base for subject, base in pairs]
    ratio = statistics.median(ratios)
    return Row(
        figure=figure,
        value=statistics.median(subject for subject, _ in pairs),
        unit=unit,
        meaning=meaning,
        baseline=statistics.median(base for _, base in pairs),
        ratio=ratio,
        spread=(min(ratios), max(ratios)),
        aim=str(aim) if aim else "",
        met=aim.met(ratio) if aim else None,
    )


def at_most(figure: str, value: float, unit: str, limit: float, meaning: str) -> Row:
    """Return the row of a figure that should stay below `limit`."""
    return Row(figure, value, unit, meaning, aim=f"< {limit:g} {unit}", met=value < limit)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which `percent` of them lie, by the nearest rank."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def number(value: float) -> str:
    """Return a figure with three digits that count, and no more."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
