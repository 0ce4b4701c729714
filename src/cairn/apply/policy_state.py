"""The number by which programs know that policies have changed, and what holds for all of them.

    a change, flags  ->  map `policy_state`

Invariants  The number is another one after every change, also over restarts, and never 0.
"""

from cairn.abi.structs import PolicyFlag, PolicyState
from cairn.libbpf import Map

_ZERO = bytes(4)
_MASK = 0xFFFFFFFF


class PolicyStateMap:
    """The state of one node's policies."""

    def __init__(self, table: Map) -> None:
        self._map = table

    def raise_flags(self, flags: PolicyFlag) -> None:
        """Put flags up, before what needs them."""
        held = self._read()
        if held.flags | flags != held.flags:
            self._write(held.revision, held.flags | flags)

    def write(self, flags: PolicyFlag, *, changed: bool) -> None:
        """Set the flags, and say that maps have changed if they have."""
        held = self._read()
        if changed or held.flags != flags or not held.revision:
            self._write(held.revision + 1 & _MASK or 1, flags)

    @property
    def flags(self) -> PolicyFlag:
        """The flags as they are."""
        return PolicyFlag(self._read().flags)

    def _read(self) -> PolicyState:
        return PolicyState.read(self._map.lookup(_ZERO) or bytes(PolicyState.SIZE))

    def _write(self, revision: int, flags: int) -> None:
        self._map.update(_ZERO, PolicyState(revision, flags).write())
