"""Metrics as values, and as the text that Prometheus fetches.

    Family, ...  ->  octets in Prometheus' text format

For daemons that must stay small: the usual library is three MiB more in each of them.

Invariants  A family's name, type and help stand once, however many rows it has.
Standards   Prometheus text format 0.0.4
Units       as names end: seconds, bytes; counters in `_total`
Not here    Who serves it (metrics_page in an event loop, metrics_thread without one).
"""

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cairn import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CONVERGENCE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of histograms of how long a change takes."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One sample."""

    value: float
    """What it is."""
    labels: Labels
    """Which it is."""
    suffix: str = ""
    """What stands behind the family's name, for histograms."""


@dataclass(frozen=True, slots=True)
class Family:
    """The samples of one name."""

    name: str
    """As it is asked for."""
    kind: str
    """gauge, counter or histogram."""
    text: str
    """One sentence of help."""
    rows: tuple[Row, ...]
    """The samples."""


def gauge(name: str, text: str, rows: Mapping[tuple[str, ...], float], *labels: str) -> Family:
    """Return a gauge; `rows` by the values of `labels`, in their order."""
    return Family(name, "gauge", text, tuple(_rows(rows, labels)))


def counter(name: str, text: str, rows: Mapping[tuple[str, ...], float], *labels: str) -> Family:
    """Return a counter; `rows` by the values of `labels`, in their order."""
    return Family(name, "counter", text, tuple(_rows(rows, labels)))


def number(name: str, text: str, value: float) -> Family:
    """Return a single value: a counter if its name says so."""
    kind = "counter" if name.endswith("_total") else "gauge"
    return Family(name, kind, text, (Row(value, {}),))


class Histogram:
    """How often something took how long."""

    def __init__(self, bounds: tuple[float, ...] = CONVERGENCE_S) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def rows(self, labels: Labels) -> Iterator[Row]:
        """Yield the samples: buckets that hold all below them too, then sum and count."""
        held = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            held += count
            yield Row(held, {**labels, "le": bound}, "_bucket")
        yield Row(self._sum, labels, "_sum")
        yield Row(held, labels, "_count")


def histogram(name: str, text: str, of: Mapping[tuple[str, ...], Histogram], *names: str) -> Family:
    """Return a family of histograms, by the values of labels `names`."""
    rows = [
        row for values, one in of.items() for row in one.rows(dict(zip(names, values, strict=True)))
    ]
    return Family(name, "histogram", text, tuple(rows))


def common(component: str) -> Iterator[Family]:
    """Yield what every process of Cairn tells: version, clock, memory, CPU, open files."""
    yield gauge(
        "cairn_build_info",
        "Version that runs",
        {(component, __version__): 1},
        "component",
        "version",
    )
    yield number("cairn_clock_seconds", "What this node's clock says, since 1970", time.time())
    ticks = os.times()
    cpu = ticks.user + ticks.system
    yield number("process_cpu_seconds_total", "CPU time, user and system", cpu)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    yield number("process_resident_memory_bytes", "Memory that is held", resident)
    yield number("process_open_fds", "Open files", len(os.listdir("/proc/self/fd")))
    yield number("process_start_time_seconds", "When it started, since 1970", _STARTED)


def spell(families: Iterable[Family]) -> bytes:
    """Return the page."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {family.text}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [
            f"{family.name}{row.suffix}{_spell_labels(row.labels)} {_spell_value(row.value)}"
            for row in family.rows
        ]
    return ("\n".join(lines) + "\n").encode()


def _rows(rows: Mapping[tuple[str, ...], float], labels: tuple[str, ...]) -> Iterator[Row]:
    for values, value in rows.items():
        yield Row(value, dict(zip(labels, values, strict=True)))


def _spell_labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _spell_value(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


_STARTED = time.time()
