"""The ports of every protocol, cut where verdicts change.

    rules that match a peer, with their ports  ->  Table

Invariants  Neighbouring ranges have different verdicts, and none has that of the rest: equal
            policies come to equal tables, however they are written.
Cost        sorting the ends of the rules' ranges, and one decision between two of them
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from cairn.compile.policy.ruleset import RankedRule
from cairn.desired.policy import HIGHEST_PORT, PortRange, Table, Verdict
from cairn.kube.policy.rule import IcmpMatch, Match, PortMatch, ProtocolMatch
from cairn.kube.policy.workload import NamedPort
from cairn.net import Protocol

Span = tuple[int, int, int]
"""Protocol, first port, last port."""
Decide = Callable[[tuple[int, ...], bool], Verdict]
"""The verdict where these rules hold, by their places in the order; and whether it is a cut."""

_ICMP = {4: 1, 6: 58}


def spans_of(rule_matches: Sequence[Match], ports: Sequence[NamedPort]) -> tuple[Span, ...] | None:
    """Return what a rule's matches cover, with names looked up in `ports`; None: everything."""
    if not rule_matches:
        return None
    return tuple(dict.fromkeys(span for match in rule_matches for span in _spans(match, ports)))


def _spans(match: Match, ports: Sequence[NamedPort]) -> Iterator[Span]:
    match match:
        case IcmpMatch(family, kind):
            yield _ICMP[family], kind << 8, kind << 8 | 0xFF
        case ProtocolMatch(number):
            yield number, 0, HIGHEST_PORT
        case PortMatch(protocol, first, last, name):
            protocols = tuple(Protocol) if protocol is None else (protocol,)
            if not name:
                yield from ((int(one), first, last) for one in protocols)
                return
            for port in ports:
                if port.name == name and port.protocol in protocols:
                    yield int(port.protocol), port.port, port.port


def named_ports(ranked: Iterable[RankedRule]) -> frozenset[str]:
    """Return the names of ports that rules use."""
    return frozenset(
        match.name
        for one in ranked
        for match in one.rule.matches
        if isinstance(match, PortMatch) and match.name
    )


class Covering(NamedTuple):
    """A rule that matches a peer, as far as ports are concerned."""

    place: int
    """Its place in the order in which rules are asked."""
    spans: tuple[Span, ...] | None
    """What it covers; None: everything."""
    kind: object = None
    """Of rules of one kind only the first that holds at a port is asked; None: it is always."""


def partition(rules: Iterable[Covering], decide: Decide, cuts: Sequence[Span] = ()) -> Table:
    """Return the table of the rules that match a peer.

    `cuts`: ranges that are judged by themselves, whatever the rules say.
    """
    always: list[Covering] = []
    edges: dict[int, dict[int, _Edge]] = {}
    for rule in rules:
        if rule.spans is None:
            always.append(rule)
            continue
        for protocol, first, last in rule.spans:
            of_protocol = edges.setdefault(protocol, {})
            of_protocol.setdefault(first, _Edge([], [])).begins.append(rule)
            of_protocol.setdefault(last + 1, _Edge([], [])).ends.append(rule)
    for protocol, first, last in cuts:
        of_protocol = edges.setdefault(protocol, {})
        of_protocol.setdefault(first, _Edge([], []))
        of_protocol.setdefault(last + 1, _Edge([], []))
    rest = decide(_Holding(always).asked(), False)
    found: list[PortRange] = []
    for protocol in sorted(edges):
        own_cuts = [(first, last) for own, first, last in cuts if own == protocol]
        for first, last, places in _stretches(edges[protocol], always):
            is_cut = any(begin <= first <= end for begin, end in own_cuts)
            _append(found, PortRange(protocol, first, last, decide(places, is_cut)))
    return Table(rest, tuple(one for one in found if one.verdict != rest))


class _Edge(NamedTuple):
    begins: list[Covering]
    ends: list[Covering]


class _Holding:
    """The rules that hold at a port, as one goes up the ports."""

    def __init__(self, rules: Iterable[Covering]) -> None:
        self._counts: Counter[int] = Counter()
        self._of_kind: dict[object, list[int]] = {}
        for rule in rules:
            self.begin(rule)

    def begin(self, rule: Covering) -> None:
        """Go into what a rule covers."""
        self._counts[rule.place] += 1
        if self._counts[rule.place] == 1:
            insort(self._of_kind.setdefault(rule.kind, []), rule.place)

    def end(self, rule: Covering) -> None:
        """Leave it."""
        self._counts[rule.place] -= 1
        if not self._counts[rule.place]:
            places = self._of_kind[rule.kind]
            del places[bisect_left(places, rule.place)]
            if not places:
                del self._of_kind[rule.kind]

    def asked(self) -> tuple[int, ...]:
        """Return the places of the rules to ask, in order."""
        found: list[int] = []
        for kind, places in self._of_kind.items():
            found += places if kind is None else places[:1]
        return tuple(sorted(found))


def _stretches(
    edges: dict[int, _Edge], always: Sequence[Covering]
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield (first, last, places) of the stretches between edges."""
    holding = _Holding(always)
    starts = sorted(edges)
    for at, start in enumerate(starts):
        for rule in edges[start].ends:
            holding.end(rule)
        for rule in edges[start].begins:
            holding.begin(rule)
        last = starts[at + 1] - 1 if at + 1 < len(starts) else HIGHEST_PORT
        if start <= last:
            yield start, last, holding.asked()


def _append(ranges: list[PortRange], new: PortRange) -> None:
    before = ranges[-1] if ranges else None
    if (
        before is not None
        and before.protocol == new.protocol
        and before.last + 1 == new.first
        and before.verdict == new.verdict
    ):
        ranges[-1] = PortRange(before.protocol, before.first, new.last, before.verdict)
    else:
        ranges.append(new)
