"""Which port each set of rules has, so that connections are held to the rules of today.

    SubjectPolicy after SubjectPolicy  ->  (identity, Redirect): port;  port: Redirect

A connection that a proxy has stays at the listener that took it: the data plane cannot move it. So
it is not rules that have a port, but a place: what one identity's policy says of some other ends
and ports. When it says another thing of the same place, the listener stays and its rules change.

Where a place falls apart into parts with different rules, each part gets a port of its own, and the
old port holds the connections that it has to what all the parts allow, until they have ended: a
request may be refused there that the connection's own part allows, never the other way round.

Invariants  Connections at a port are at any time held to no less than the rules in force for them.
            No two identities share a port.
            A port is not given to another place before all others were.
Cost        one pass over the places of an identity that has rules for proxies; nothing for others
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cairn.abi.structs import PolicyAction
from cairn.compile.policy.group import FIRST_NAME
from cairn.desired.policy import DirectionPolicy, Redirect, SubjectPolicy, Table
from cairn.kube.policy.rule import Direction, DnsRule, HttpRule

Rule = TypeVar("Rule", HttpRule, DnsRule)

ANY_OTHER = 0
"""In a Place: the identities that have no table of their own."""
ANY_PROTOCOL = -1
"""In a Place: what its table's ranges do not name."""

Place = tuple[Direction, int, int, int, int]
"""Direction, the other end's identity, protocol, first and last port."""


@dataclass(slots=True)
class Slot:
    """One listener: whose it is, and what it applies."""

    identity: int
    """Whose policy sends connections there."""
    redirect: Redirect
    """What is applied."""
    places: set[Place]
    """Places whose connections come, or once came, there."""
    peers: set[int]
    """Identities that have a table of their own."""
    left: bool = False
    """Whether nothing new is sent there."""

    def meet(self, peers: set[int]) -> None:
        """Take note of identities that have tables of their own from now on."""
        for direction, remote, *rest in tuple(self.places) if peers - self.peers else ():
            if remote == ANY_OTHER:
                protocol, first, last = rest
                self.places |= {
                    (direction, peer, protocol, first, last) for peer in peers - self.peers
                }
        self.peers = peers


@dataclass(slots=True)
class RedirectPorts:
    """The ports of one node's redirects."""

    ports: range
    """Those that may be given."""
    slots: dict[int, Slot] = field(default_factory=dict)
    """By port."""
    last: int = 0
    """The port that was given last."""

    def port(self, identity: int, redirect: Redirect) -> int:
        """Return the port of a redirect of an identity's present policy; 0 if there is none."""
        for port, slot in self._of(identity):
            if slot.redirect == redirect and not slot.left:
                return port
        return 0

    def directions(self, identity: int) -> frozenset[Direction]:
        """Return the directions in which connections of an identity may be with a proxy."""
        return frozenset(slot.redirect.direction for _, slot in self._of(identity))

    def follow(self, identity: int, policy: SubjectPolicy | None) -> bool:
        """Take what an identity's policy says now; return whether it needs ports that are not left.

        Without a policy the identity is nobody's any more: its connections are others' now, or
        gone, and are denied all that a proxy judges.
        """
        mine = dict(self._of(identity))
        wanted = _places(policy) if policy is not None else {}
        peers = _peers(policy) if policy is not None else set()
        placed: set[Redirect] = set()
        for port in sorted(mine, key=lambda port: (mine[port].left, port)):
            slot = mine[port]
            slot.meet(peers)
            after = _successors(slot, policy)
            one = next(iter(after)) if len(after) == 1 else None
            if one and not slot.left and one not in placed and _alike(slot.redirect, one):
                placed.add(one)
                slot.redirect = one
                slot.places |= wanted.get(one, set())
            else:
                slot.left = True
                slot.redirect = _held_to(slot.redirect, after, nobody=policy is None)
        missing = [redirect for redirect in wanted if redirect not in placed]
        for redirect in missing:
            if not (port := self._next()):
                return False
            self.slots[port] = Slot(identity, redirect, wanted[redirect], peers)
        return True

    def _of(self, identity: int) -> Iterator[tuple[int, Slot]]:
        return ((port, slot) for port, slot in self.slots.items() if slot.identity == identity)

    def _next(self) -> int:
        for step in range(1, len(self.ports) + 1):
            port = self.ports[(self.last - self.ports.start + step) % len(self.ports)]
            if port not in self.slots:
                self.last = port
                return port
        return 0


def _directions(policy: SubjectPolicy) -> Iterator[tuple[Direction, DirectionPolicy]]:
    if policy.egress is not None:
        yield Direction.EGRESS, policy.egress
    if policy.ingress is not None:
        yield Direction.INGRESS, policy.ingress


def _peers(policy: SubjectPolicy) -> set[int]:
    return {remote for _, found in _directions(policy) for remote in found.peers}


def _places(policy: SubjectPolicy) -> dict[Redirect, set[Place]]:
    """Return where the policy names each redirect."""
    found: dict[Redirect, set[Place]] = defaultdict(set)
    for direction, part in _directions(policy):
        for remote, table in ((ANY_OTHER, part.rest), *part.peers.items()):
            if table.rest.redirect is not None:
                found[table.rest.redirect].add((direction, remote, ANY_PROTOCOL, 0, 0))
            for some in table.ranges:
                if some.verdict.redirect is not None:
                    place = (direction, remote, some.protocol, some.first, some.last)
                    found[some.verdict.redirect].add(place)
    return dict(found)


def _successors(slot: Slot, policy: SubjectPolicy | None) -> set[Redirect]:
    """Return the redirects that are in force now for connections that a slot may have."""
    parts = dict(_directions(policy)) if policy is not None else {}
    found: set[Redirect] = set()
    for direction, remote, protocol, first, last in slot.places:
        part = parts.get(direction)
        if part is None:  # not isolated any more: all is allowed
            continue
        own = _redirects_at(part.peers.get(remote, part.rest), protocol, first, last)
        found |= own
        if not own and direction is Direction.EGRESS:
            # Nothing allows it as what it is; but it may have names.
            for peer, table in part.peers.items():
                if peer >= FIRST_NAME:
                    found |= _redirects_at(table, protocol, first, last)
    return found


def _redirects_at(table: Table, protocol: int, first: int, last: int) -> set[Redirect]:
    """Return what a table names anywhere in a place."""
    found: set[Redirect] = set()
    covered = 0
    for some in table.ranges:
        if protocol == ANY_PROTOCOL:
            overlap = 1
        elif some.protocol == protocol:
            overlap = max(0, min(last, some.last) - max(first, some.first) + 1)
        else:
            overlap = 0
        covered += overlap
        if overlap and some.verdict.redirect is not None:
            found.add(some.verdict.redirect)
    whole = protocol != ANY_PROTOCOL and covered == last - first + 1
    if not whole and table.rest.action is PolicyAction.PROXY and table.rest.redirect is not None:
        found.add(table.rest.redirect)
    return found


def _alike(one: Redirect, other: Redirect) -> bool:
    """Return whether the same listener serves both: only rules of requests change in place."""
    return (one.http is None, one.dns is None, one.server_names, one.direction) == (
        other.http is None,
        other.dns is None,
        other.server_names,
        other.direction,
    )


def _held_to(old: Redirect, now: Collection[Redirect], *, nobody: bool) -> Redirect:
    """Return what the connections that a listener has left are held to."""
    http, dns = old.http, old.dns
    if http is not None:
        sets = [redirect.http or () for redirect in now]
        http = () if nobody else _common(sets, HttpRule())
    if dns is not None:
        names = [redirect.dns or () for redirect in now]
        dns = () if nobody else _common(names, DnsRule(pattern="*"))
    return replace(old, http=http, dns=dns)


def _common(sets: list[tuple[Rule, ...]], everything: Rule) -> tuple[Rule, ...]:
    """Return the rules that all sets have; `everything` if there is none that has not that."""
    narrow = [some for some in sets if everything not in some]
    if not narrow:
        return (everything,)
    return tuple(rule for rule in narrow[0] if all(rule in some for some in narrow[1:]))
