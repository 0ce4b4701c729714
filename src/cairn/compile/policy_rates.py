"""Compile the rate limits of policies into where the data plane looks for them.

    limits at ports of pods, frontends of Services  ->  limits by (address, protocol, port, source)

Pure. A limit is on the pod's port; who comes through a Service is counted at the Service's address,
before anything is known of where the connection will go.

Invariants  Where several limits meet, the strictest holds: the one with fewest a second, then the
            smallest burst, then the first by name.
            A limit over more ports than MOST_PORTS is one at the ports that are known of: those of
            Services and those that the pods declare.
Units       ports in host order
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cairn.desired.load_balancer import ANY_NODE, Frontend, LbState
from cairn.kube.policy.rule import RateLimit, RuleRef
from cairn.net import Address, L4Address, Protocol

MOST_PORTS = 64
"""Ports of one limit that are written one by one."""
EVERYONE = 0
"""In the place of an identity: sources that have no limit of their own."""


@dataclass(frozen=True, slots=True)
class RatedPorts:
    """A limit at some ports of some pods."""

    addresses: tuple[Address, ...]
    """Of the pods."""
    protocol: Protocol
    """Transport protocol."""
    first: int
    """First port."""
    last: int
    """Last port."""
    limit: RateLimit
    """How much."""
    rule: RuleRef
    """Which rule says so."""
    remotes: frozenset[int] | None = None
    """Identities of the sources that the rule is about; None: all."""
    declared: frozenset[int] = frozenset()
    """Ports that the pods say they have."""

    def holds(self, where: L4Address) -> bool:
        """Return whether the limit is about the port there."""
        return where.protocol is self.protocol and self.first <= where.port <= self.last


class RateAt(NamedTuple):
    """Where a limit is looked for."""

    where: L4Address
    """What a packet is sent to."""
    remote: int
    """Identity of its source, or EVERYONE."""


class Limit(NamedTuple):
    """A limit with its rule."""

    limit: RateLimit | None
    """How much; None: no limit, but identities that have one."""
    rule: RuleRef | None
    """Which rule says so."""
    by_remote: bool = False
    """Whether some identities have limits of their own here."""


def compile_rates(
    rated: Iterable[RatedPorts], frontends: LbState, nodes: Sequence[Address] = ()
) -> dict[RateAt, Limit]:
    """Return every limit that the node looks for; `nodes`: addresses at which node ports are."""
    behind = _by_backend(frontends)
    found: dict[L4Address, list[RatedPorts]] = defaultdict(list)
    for ports in rated:
        for where in _places(ports, behind, nodes):
            found[where].append(ports)
    limits: dict[RateAt, Limit] = {}
    for where, here in found.items():
        limits |= _limits_at(where, here)
    return limits


def _by_backend(frontends: LbState) -> Mapping[Address, list[tuple[L4Address, L4Address]]]:
    """Return (frontend, backend) by the backend's address, of frontends that packets reach."""
    found: dict[Address, list[tuple[L4Address, L4Address]]] = defaultdict(list)
    for where, frontend in frontends.items():
        for backend in _backends(frontend):
            found[backend.address].append((where, backend))
    return found


def _backends(frontend: Frontend) -> Iterable[L4Address]:
    return (b.address for b in frontend.backends) if frontend.external else ()


def _places(
    ports: RatedPorts,
    behind: Mapping[Address, list[tuple[L4Address, L4Address]]],
    nodes: Sequence[Address],
) -> set[L4Address]:
    every = range(ports.first, ports.last + 1)
    known = every if len(every) <= MOST_PORTS else [p for p in ports.declared if p in every]
    places = {
        L4Address(address, ports.protocol, port) for address in ports.addresses for port in known
    }
    for address in ports.addresses:
        for frontend, backend in behind.get(address, ()):
            if ports.holds(backend):
                places.update(_reached_at(frontend, nodes))
    return places


def _reached_at(frontend: L4Address, nodes: Sequence[Address]) -> Iterable[L4Address]:
    if frontend.address not in ANY_NODE.values():
        return (frontend,)
    same = (a for a in nodes if a.version == frontend.address.version)
    return (L4Address(a, frontend.protocol, frontend.port) for a in same)


def _limits_at(where: L4Address, here: Sequence[RatedPorts]) -> dict[RateAt, Limit]:
    common = [ports for ports in here if ports.remotes is None]
    own = sorted({remote for ports in here if ports.remotes for remote in ports.remotes})
    limits = {}
    for remote in own:
        meant = [p for p in here if p.remotes is None or remote in p.remotes]
        limits[RateAt(where, remote)] = _strictest(meant)
    if common or own:
        everyone = _strictest(common) if common else Limit(None, None)
        limits[RateAt(where, EVERYONE)] = everyone._replace(by_remote=bool(own))
    return limits


def _strictest(limits: Sequence[RatedPorts]) -> Limit:
    least = min(limits, key=lambda p: (p.limit.per_second, p.limit.burst, p.rule))
    return Limit(least.limit, least.rule)
