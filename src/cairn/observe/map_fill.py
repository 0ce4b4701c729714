"""How full the data plane's maps are, and what to say before one is full.

    (map, entries, capacity)  ->  Notice when a mark is passed, and when it is well again

Invariants  A mark is told of once, until the map has fallen below CLEAR: a fill that sways about a
            mark makes no noise.
"""

from dataclasses import dataclass
from enum import IntEnum

MARKS = (0.75, 0.90)
CLEAR = 0.60
OBJECTS = (
    "the object that does not fit is named in the agent's log and tried again; "
    "the data plane goes on without it"
)
CONSEQUENCES = {
    "conntrack": (
        "no new connection to a pod of this node begins (CONNTRACK_FULL); those that live go on"
    ),
    "endpoints": "a new pod cannot be wired",
    "nodes": "connections to pods of a new node are dropped (BACKEND_NO_NODE)",
    "peers": "what a new node hands over is not known as such",
    "tunnels": "what a new node sends through the overlay is dropped (TUNNEL)",
    "pod_routes": "pods of a new node are reached by way of the kernel's routes only",
}
"""What happens when a map is full, where it is not OBJECTS."""


class Level(IntEnum):
    """How far a map has filled: how many of MARKS it has passed."""

    WELL = 0
    HIGH = 1
    NEARLY_FULL = 2


@dataclass(frozen=True, slots=True)
class Fill:
    """One map's use."""

    name: str
    entries: int
    capacity: int
    evicts: bool = False
    """Whether it makes room by forgetting what was used least recently: then full is well."""

    @property
    def share(self) -> float:
        """Used part, 0 to 1."""
        return self.entries / self.capacity if self.capacity else 0.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What to tell of a map."""

    reason: str
    """MapFilling or MapFillCleared."""
    message: str
    warning: bool


class FillWatch:
    """Remembers which marks each map has passed."""

    def __init__(self) -> None:
        self._levels: dict[str, Level] = {}

    def judge(self, fill: Fill) -> Notice | None:
        """Return what is to be said now that a map is so full; None for nothing new."""
        if fill.evicts:
            return None
        before = self._levels.get(fill.name, Level.WELL)
        now = Level(sum(fill.share >= mark for mark in MARKS))
        if now > before:
            self._levels[fill.name] = now
            return Notice("MapFilling", _warning(fill), warning=True)
        if before and fill.share < CLEAR:
            self._levels[fill.name] = Level.WELL
            return Notice("MapFillCleared", f"{_use(fill)}: it has room again", warning=False)
        return None


def _warning(fill: Fill) -> str:
    then = CONSEQUENCES.get(fill.name, OBJECTS)
    return (
        f"{_use(fill)}. When it is full: {then}. "
        f"Make it larger: agent option --map-size {fill.name}={2 * fill.capacity}"
    )


def _use(fill: Fill) -> str:
    return f"map {fill.name} holds {fill.entries:,} of {fill.capacity:,} entries ({fill.share:.0%})"
