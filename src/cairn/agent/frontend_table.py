"""Which frontend stands at an address that several objects may claim.

    LbState of one object (Service or pod)  ->  changed frontends (L4Address -> Frontend | None)

Invariants  A changed object touches the addresses that it has or had, and no others.
            Of several claims the one that ranks highest holds, then the one whose object was made
            known under the lowest name: every node decides alike.
Cost        one object: its addresses
"""

from collections import defaultdict
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
        self._claims: dict[L4Address, dict[str, Frontend]] = defaultdict(dict)
        self._contested: set[L4Address] = set()

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the objects that have frontends."""
        return iter(tuple(self._states))

    def __contains__(self, where: L4Address) -> bool:
        return where in self._claims

    def service(self, where: L4Address) -> str:
        """Return the Service (or pod) that holds an address, as namespace/name; "" if none does."""
        return self._holder(where).service if where in self._claims else ""

    def state(self, name: str) -> LbState:
        """Return an object's frontends as they were last told."""
        return self._states.get(name, _NOTHING)

    def update(self, name: str, state: LbState) -> dict[L4Address, Frontend | None]:
        """Take an object's frontends as they are now; return what is to be written for it."""
        before = self._states.pop(name, _NOTHING)
        if state:
            self._states[name] = state
        changed = {
            where for where in before.keys() | state.keys() if before.get(where) != state.get(where)
        }
        return {where: self._claim(where, name, state) for where in changed}

    def holders(self, name: str) -> Mapping[L4Address, Frontend]:
        """Return who holds the addresses that an object claims: its own frontend or another's."""
        return {where: self._holder(where) for where in self.state(name)}

    def contested(self) -> Iterator[tuple[L4Address, Frontend, Frontend]]:
        """Yield each address that several objects claim: who holds it, and who does not."""
        for where in sorted(self._contested, key=L4Address.sort_key):
            held = self._holder(where)
            for claim in self._claims[where].values():
                if claim is not held:
                    yield where, held, claim

    def _claim(self, where: L4Address, name: str, state: LbState) -> Frontend | None:
        claims = self._claims[where]
        claims.pop(name, None)
        if where in state:
            claims[name] = state[where]
        if len(claims) > 1:
            self._contested.add(where)
        else:
            self._contested.discard(where)
        if not claims:
            del self._claims[where]
            return None
        return self._holder(where)

    def _holder(self, where: L4Address) -> Frontend:
        claims = self._claims[where]
        if len(claims) == 1:
            return next(iter(claims.values()))
        return min(claims.items(), key=lambda item: (_RANKS.index(item[1].kind), item[0]))[1]
