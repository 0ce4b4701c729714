"""The number by which the packet programs know that maps have changed.

    a change  ->  map `revision`

Invariants  The number is another one after every change, also over restarts. It is written after
            the change: what a program remembers of before is good until then, and no longer.
            A flag stays until it is taken away.
"""

from collections.abc import Mapping

from cairn.abi.structs import Revision, RevisionFlag
from cairn.libbpf import Map

_ZERO = bytes(4)
_MASK = 0xFFFFFFFF


class RevisionMap:
    """The state of the maps, by number."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._map = maps["revision"]

    def advance(self) -> None:
        """Say that maps have changed."""
        self._write(self._read().flags)

    def set(self, flag: RevisionFlag, *, on: bool) -> None:
        """Put a flag up or take it away."""
        flags = self._read().flags
        wanted = flags | flag if on else flags & ~flag
        if wanted != flags:
            self._write(wanted)

    def _read(self) -> Revision:
        return Revision.read(self._map.lookup(_ZERO) or bytes(Revision.SIZE))

    def _write(self, flags: int) -> None:
        number = (self._read().number + 1) & _MASK
        self._map.update(_ZERO, Revision(number, flags).write())
