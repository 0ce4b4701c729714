"""Which frontend stands at an address that several objects may claim.

    LbState of one object (Service or pod)  ->  changed frontends (L4Address -> Frontend | None)

Invariants  A changed object touches the addresses that it has or had, and no others.
            Of several claims the one that ranks highest holds, then the one whose object was made
            known under the lowest name: every node decides alike.
Cost        one object: its addresses
"""

from collections.abc import Iterator, Mapping

from cairn.desired.load_balancer import Frontend, Kind, LbState
from cairn.net import L4Address

_RANKS = (
    Kind.LOAD_BALANCER,
    Kind.EXTERNAL_IP,
    Kind.CLUSTER_IP,
    Kind.NODE_PORT,
    Kind.HOST_PORT,
)
"""A load balancer owns its address; what the cluster gave out goes before what a pod asks for."""
_NOTHING: LbState = {}


class FrontendTable:
    """The frontends of all objects, and who holds each address."""

    def __init__(self) -> None:
        self._states: dict[str, LbState] = {}
        self._names: dict[L4Address, str] = {}
        """Whose an address is that one object claims: nearly all."""
        self._rivals: dict[L4Address, set[str]] = {}
        """Who claims it, where there are several."""

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the objects that have frontends."""
        return iter(tuple(self._states))

    def __contains__(self, where: L4Address) -> bool:
        return where in self._names or where in self._rivals

    def service(self, where: L4Address) -> str:
        """Return the Service (or pod) that holds an address, as namespace/name; "" if none does."""
        held = self._holder(where)
        return held.service if held else ""

    def state(self, name: str) -> LbState:
        """Return an object's frontends as they were last told."""
        return self._states.get(name, _NOTHING)

    def states(self) -> LbState:
        """Return the frontends of all objects, each address by who claims it last."""
        return {where: one for state in self._states.values() for where, one in state.items()}

    def claimants(self, where: L4Address) -> tuple[str, ...]:
        """Return the names of the objects that claim an address."""
        name = self._names.get(where)
        return (name,) if name is not None else tuple(self._rivals.get(where, ()))

    def update(self, name: str, state: LbState) -> dict[L4Address, Frontend | None]:
        """Take an object's frontends as they are now; return what is to be written for it."""
        before = self._states.pop(name, _NOTHING)
        if state:
            self._states[name] = state
        for where in before.keys() - state.keys():
            self._give_up(where, name)
        for where in state.keys() - before.keys():
            self._claim(where, name)
        changed = {
            where for where in before.keys() | state.keys() if before.get(where) != state.get(where)
        }
        return {where: self._holder(where) for where in changed}

    def holders(self, name: str) -> Mapping[L4Address, Frontend]:
        """Return who holds the addresses that an object claims: its own frontend or another's."""
        found = {where: self._holder(where) for where in self.state(name)}
        return {where: held for where, held in found.items() if held is not None}

    def contested(self) -> Iterator[tuple[L4Address, Frontend, Frontend]]:
        """Yield each address that several objects claim: who holds it, and who does not."""
        for where, names in self._rivals.items():
            held = self._holder(where)
            for name in names:
                claim = self._states[name][where]
                if held is not None and claim is not held:
                    yield where, held, claim

    def _claim(self, where: L4Address, name: str) -> None:
        if where in self._rivals:
            self._rivals[where].add(name)
        elif where in self._names:
            self._rivals[where] = {self._names.pop(where), name}
        else:
            self._names[where] = name

    def _give_up(self, where: L4Address, name: str) -> None:
        names = self._rivals.get(where)
        if names is None:
            self._names.pop(where, None)
            return
        names.discard(name)
        if len(names) == 1:
            self._names[where] = self._rivals.pop(where).pop()

    def _holder(self, where: L4Address) -> Frontend | None:
        name = self._names.get(where)
        if name is not None:
            return self._states[name][where]
        claims = ((self._states[n][where], n) for n in self._rivals.get(where, ()))
        best = min(claims, key=lambda claim: (_RANKS.index(claim[0].kind), claim[1]), default=None)
        return best[0] if best else None
