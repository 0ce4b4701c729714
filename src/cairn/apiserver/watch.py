"""Watching: the recent changes of every resource, and who is told of the next.

    Change  ->  line of JSON  ->  every watcher whose selection it concerns

Invariants  A watcher sees every change after its revision once and in order, or is refused (410).
            A line is encoded once, however many watchers read it.
            An object that leaves a selection is DELETED to its watchers, one that enters it ADDED.
Cost        One change: one pass over the resource's watchers; the history holds at most
            HISTORY_CHANGES and HISTORY_BYTES over all resources.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from cairn.apiserver.entry import Entry
from cairn.apiserver.selection import Selection
from cairn.apiserver.status import expired
from cairn.apiserver.store import Change, Event

HISTORY_CHANGES = 5000
HISTORY_BYTES = 12 << 20

Line = Callable[[Event, Entry], bytes]
"""How a watcher wants a change written: JSON of the object, or a table row."""


@dataclass(eq=False, slots=True)
class Watcher:
    """One client that waits for changes."""

    resource: str
    """Resource it watches."""
    selection: Selection
    """Objects it wants to hear of."""
    sink: Callable[[bytes], None]
    """Takes a line at once, without waiting."""
    line: Line
    """How it wants changes written."""
    shared: str = ""
    """Watchers with the same non-empty word here share a line's bytes."""


@dataclass(slots=True)
class _Told:
    """A change with the lines already written for it."""

    change: Change
    lines: dict[tuple[str, Event], bytes] = field(default_factory=dict)


class Broadcast:
    """The history of changes, and the watchers."""

    def __init__(self, revision: int) -> None:
        self._floor = revision
        self._last = revision
        self._history: deque[Change] = deque()
        self._bytes = 0
        self._watchers: dict[str, dict[Watcher, None]] = {}

    def __len__(self) -> int:
        return sum(len(watchers) for watchers in self._watchers.values())

    def publish(self, changes: Iterable[Change]) -> None:
        """Tell every watcher, and remember."""
        for change in changes:
            self._remember(change)
            told = _Told(change)
            for watcher in list(self._watchers.get(change.resource, ())):
                _tell(watcher, told)

    def subscribe(self, watcher: Watcher, since: int) -> None:
        """Tell what happened after `since`, then go on; raises Refused (410)."""
        for change in self._after(since):
            if change.resource == watcher.resource:
                _tell(watcher, _Told(change))
        self._watchers.setdefault(watcher.resource, {})[watcher] = None

    def tell(self, watcher: Watcher, entries: Iterable[Entry]) -> None:
        """Tell a watcher of objects that are there already."""
        for entry in entries:
            watcher.sink(watcher.line(Event.ADDED, entry))

    def unsubscribe(self, watcher: Watcher) -> None:
        """Tell this watcher nothing more."""
        self._watchers.get(watcher.resource, {}).pop(watcher, None)

    def check(self, since: int) -> None:
        """Raise Refused (410) if changes after `since` are forgotten, or it lies in the future."""
        if since < self._floor:
            raise expired(f"too old resource version: {since} ({self._floor})")
        if since > self._last:
            raise expired(f"resource version {since} is not known here; the last is {self._last}")

    def _after(self, since: int) -> Iterator[Change]:
        self.check(since)
        return (change for change in list(self._history) if change.new.revision > since)

    def _remember(self, change: Change) -> None:
        self._history.append(change)
        self._bytes += len(change.new.data)
        self._last = max(self._last, change.new.revision)
        while len(self._history) > HISTORY_CHANGES or self._bytes > HISTORY_BYTES:
            forgotten = self._history.popleft()
            self._bytes -= len(forgotten.new.data)
            self._floor = forgotten.new.revision


def plain_line(api_version: str) -> Line:
    """Return how changes are written as they are, under the given version."""

    def line(event: Event, entry: Entry) -> bytes:
        return b'{"type":"%b","object":%b}\n' % (event.encode(), entry.data_as(api_version))

    return line


def bookmark(kind: str, api_version: str, revision: int, *, initial_end: bool = False) -> bytes:
    """Return the line that says up to which revision a watcher has heard everything."""
    metadata: dict[str, object] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj = {"kind": kind, "apiVersion": api_version, "metadata": metadata}
    return msgspec.json.encode({"type": "BOOKMARK", "object": obj}) + b"\n"


def _tell(watcher: Watcher, told: _Told) -> None:
    event = _event_for(watcher.selection, told.change)
    if event is None:
        return
    mark = (watcher.shared, event)
    line = told.lines.get(mark) if watcher.shared else None
    if line is None:
        line = watcher.line(event, told.change.new)
        if watcher.shared:
            told.lines[mark] = line
    watcher.sink(line)


def _event_for(selection: Selection, change: Change) -> Event | None:
    before = change.old is not None and selection.matches(change.old)
    after = change.event is not Event.DELETED and selection.matches(change.new)
    if after:
        return Event.MODIFIED if before else Event.ADDED
    return Event.DELETED if before else None
