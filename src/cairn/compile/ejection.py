"""Leave out the backends that their own nodes found dead.

    LbState, ejected addresses by node  ->  LbState

Only a backend's own node may eject it: it is the one that sees it from nearby, and all other nodes
follow its word, so that every node computes the same tables.

Invariants  An ejected backend drains: what is established goes on, since a process that hangs may
            wake up. If no other backend is left, all of them stay: to try is better than to refuse,
            and the nodes withdraw the address by themselves.
Cost        nothing while no backend of the Service is ejected
"""

from collections.abc import Mapping, Set
from dataclasses import replace

from cairn.desired.load_balancer import Backend, Frontend, LbState
from cairn.net import L4Address

Ejected = Mapping[str, Set[L4Address]]
"""Ejected backends by the name of their node."""
_NONE: frozenset[L4Address] = frozenset()


def exclude_ejected(state: LbState, ejected: Ejected) -> LbState:
    """Return the frontends without new connections for ejected backends."""
    if not any(ejected.values()):
        return state
    return {where: _exclude(frontend, ejected) for where, frontend in state.items()}


def _exclude(frontend: Frontend, ejected: Ejected) -> Frontend:
    gone = {b for b in frontend.active if b.address in ejected.get(b.node, _NONE)}
    if not gone:
        return frontend
    others = len(gone) < len(frontend.active)
    backends: tuple[Backend, ...] = tuple(
        replace(b, ejected=True, draining=others) if b in gone else b for b in frontend.backends
    )
    return replace(frontend, backends=backends)
