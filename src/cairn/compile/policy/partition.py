"""The ports of every protocol, cut where verdicts change.

    rules that match a peer, with their ports  ->  Table

Invariants  Neighbouring ranges have different verdicts, and none has that of the rest: equal
            policies come to equal tables, however they are written.
Cost        sorting the ends of the rules' ranges, and one decision for each set of rules that
            holds at some port
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

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


def partition(
    rules: Iterable[tuple[int, tuple[Span, ...] | None]],
    decide: Decide,
    cuts: Sequence[Span] = (),
) -> Table:
    """Return the table of rules that match a peer, each by its place and what it covers.

    `cuts`: ranges that are judged by themselves, whatever the rules say.
    """
    always: list[int] = []
    edges: dict[int, dict[int, list[int]]] = {}
    for place, spans in rules:
        if spans is None:
            always.append(place)
            continue
        for protocol, first, last in spans:
            of_protocol = edges.setdefault(protocol, {})
            of_protocol.setdefault(first, []).append(place)
            of_protocol.setdefault(last + 1, []).append(~place)
    for protocol, first, last in cuts:
        of_protocol = edges.setdefault(protocol, {})
        of_protocol.setdefault(first, [])
        of_protocol.setdefault(last + 1, [])
    rest = decide(tuple(always), False)
    found: list[PortRange] = []
    for protocol in sorted(edges):
        for first, last, places in _stretches(edges[protocol], always):
            verdict = decide(
                places, any(cut[0] == protocol and cut[1] <= first <= cut[2] for cut in cuts)
            )
            _append(found, PortRange(protocol, first, last, verdict))
    return Table(rest, tuple(one for one in found if one.verdict != rest))


def _stretches(
    edges: dict[int, list[int]], always: Sequence[int]
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield (first, last, places) of the stretches between edges."""
    counts = dict.fromkeys(always, 1)
    starts = sorted(edges)
    for at, start in enumerate(starts):
        for place in edges[start]:
            if place >= 0:
                counts[place] = counts.get(place, 0) + 1
            else:
                counts[~place] -= 1
                if not counts[~place]:
                    del counts[~place]
        last = starts[at + 1] - 1 if at + 1 < len(starts) else HIGHEST_PORT
        if start <= last:
            yield start, last, tuple(sorted(counts))


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
