"""Count what the data plane's maps hold.

    maps by name  ->  Fill of each map that can be full

Cost        the kernel keeps no count that can be asked for: a map is walked in batches, about
            0.1 us an entry. A map whose last walk took long, or that is far from full, is walked
            less often.
Invariants  A map is walked again within LONGEST_S; one that is filling, within SOON_S.
"""

from collections.abc import Callable, Collection, Mapping

from cairn.libbpf import Map, MapType
from cairn.observe.map_fill import CLEAR, Fill

EVICTING = frozenset({MapType.LRU_HASH})
COUNTED = EVICTING | {MapType.HASH, MapType.LPM_TRIE, MapType.HASH_OF_MAPS, MapType.PERCPU_HASH}
LONGEST_S = 300.0
SOON_S = 15.0
SHARE_OF_TIME = 0.002
"""At most this part of the time is spent on the walks of one map."""


class MapUsage:
    """The last known use of every map."""

    def __init__(
        self,
        maps: Mapping[str, Map],
        clock: Callable[[], float],
        *,
        elsewhere: Collection[str] = (),
    ) -> None:
        self._maps = {
            name: table
            for name, table in maps.items()
            if table.shape.type in COUNTED and name not in elsewhere
        }
        self._clock = clock
        self._due_s: dict[str, float] = {}
        self.fills: dict[str, Fill] = {}
        """By map name; those counted elsewhere are written by whoever counts them."""

    def refresh(self, *, anew: bool = False) -> list[Fill]:
        """Count the maps whose time has come, or all, and return them; raises BpfError."""
        found = []
        for name, table in self._maps.items():
            start = self._clock()
            if not anew and start < self._due_s.get(name, 0):
                continue
            fill = Fill(name, count(table), table.shape.max_entries, _evicts(table))
            self.fills[name] = fill
            found.append(fill)
            pause_s = SOON_S if fill.share >= CLEAR and not fill.evicts else 4 * SOON_S
            took_s = self._clock() - start
            self._due_s[name] = start + min(LONGEST_S, max(pause_s, took_s / SHARE_OF_TIME))
        return found


def count(table: Map) -> int:
    """Return how many entries a map holds."""
    return sum(number for _, _, number in table.batches())


def _evicts(table: Map) -> bool:
    return table.shape.type in EVICTING
