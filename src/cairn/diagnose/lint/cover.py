"""Whether one thing means all that another means.

two selectors, peers, matches, rules  ->  bool

Invariants  True is certain; False may be "not known", as between a network and a label.
"""

from cairn.kube.policy.rule import (
    RESERVED,
    CidrPeer,
    EntityPeer,
    FqdnPeer,
    GroupPeer,
    LabelPeer,
    Match,
    Peer,
    PortMatch,
    Rule,
)
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.net import Network


def selector_covers(wide: Selector | None, narrow: Selector | None) -> bool:
    """Return whether whatever `narrow` selects is selected by `wide`."""
    if wide is None or narrow is None:
        return wide is narrow
    return all(
        any(_implies(given, wanted) for given in narrow.requirements)
        for wanted in wide.requirements
    )


def _implies(given: Requirement, wanted: Requirement) -> bool:
    if given.key != wanted.key:
        return False
    match wanted.operator:
        case Operator.IN:
            return given.operator is Operator.IN and given.values <= wanted.values
        case Operator.EXISTS:
            return given.operator in (Operator.IN, Operator.EXISTS)
        case Operator.DOES_NOT_EXIST:
            return given.operator is Operator.DOES_NOT_EXIST
        case Operator.NOT_IN:
            if given.operator is Operator.IN:
                return not given.values & wanted.values
            if given.operator is Operator.NOT_IN:
                return given.values >= wanted.values
            return given.operator is Operator.DOES_NOT_EXIST


def peer_covers(wide: Peer, narrow: Peer) -> bool:
    """Return whether `wide` means everyone whom `narrow` means."""
    if wide == narrow:
        return True
    match wide, narrow:
        case EntityPeer("all"), _:
            return True
        case EntityPeer("cluster"), LabelPeer(selector):
            return not _reserved(selector)
        case EntityPeer("cluster"), EntityPeer(entity):
            return entity in ("host", "remote-node", "health", "init", "ingress", "unmanaged")
        case EntityPeer("world"), EntityPeer(entity):
            return entity in ("world-ipv4", "world-ipv6")
        case LabelPeer(first), LabelPeer(second):
            return _reserved(first) == _reserved(second) and selector_covers(first, second)
        case EntityPeer("world"), CidrPeer() | GroupPeer():
            return isinstance(narrow, GroupPeer) or not narrow.inside
        case CidrPeer(), CidrPeer():
            return _cidr_covers(wide, narrow)
        case FqdnPeer(pattern="*"), FqdnPeer():
            return True
        case _:
            return False


def _reserved(selector: Selector) -> bool:
    return any(r.key.startswith(RESERVED) for r in selector.requirements)


def _cidr_covers(wide: CidrPeer, narrow: CidrPeer) -> bool:
    if narrow.inside and not wide.inside:
        return False
    if not _within(narrow.network, wide.network):
        return False
    return all(
        any(_within(part, own) for own in narrow.excepts) or not _meet(part, narrow.network)
        for part in wide.excepts
    )


def _within(inner: Network, outer: Network) -> bool:
    if inner.version != outer.version or inner.prefixlen < outer.prefixlen:
        return False
    return inner.network_address in outer


def _meet(one: Network, other: Network) -> bool:
    return _within(one, other) or _within(other, one)


def peers_cover(wide: tuple[Peer, ...], narrow: tuple[Peer, ...]) -> bool:
    """Return whether a list of peers means all that another means; an empty one means everyone."""
    if not wide:
        return True
    return bool(narrow) and all(any(peer_covers(w, n) for w in wide) for n in narrow)


def match_covers(wide: Match, narrow: Match) -> bool:
    """Return whether one match holds wherever another does."""
    if not isinstance(wide, PortMatch) or not isinstance(narrow, PortMatch):
        return wide == narrow
    if wide.protocol is not None and wide.protocol != narrow.protocol:
        return False
    everything = not wide.name and (wide.first, wide.last) == (0, 65535)
    if wide.name or narrow.name:
        return everything or wide.name == narrow.name
    return wide.first <= narrow.first and narrow.last <= wide.last


def matches_cover(wide: tuple[Match, ...], narrow: tuple[Match, ...]) -> bool:
    """Return whether a list of matches holds wherever another does; an empty one always."""
    if not wide:
        return True
    return bool(narrow) and all(any(match_covers(w, n) for w in wide) for n in narrow)


def rule_covers(wide: Rule, narrow: Rule) -> bool:
    """Return whether a rule is about every connection that another is about."""
    return (
        wide.direction is narrow.direction
        and peers_cover(wide.peers, narrow.peers)
        and matches_cover(wide.matches, narrow.matches)
    )


def conditions_cover(wide: Rule, narrow: Rule) -> bool:
    """Return whether a rule lets every request pass that another lets pass."""
    if wide.rate != narrow.rate:
        return False
    if not _conditional(wide):
        return True
    return (wide.http, wide.dns, wide.server_names) == (
        narrow.http,
        narrow.dns,
        narrow.server_names,
    )


def _conditional(rule: Rule) -> bool:
    return rule.http is not None or rule.dns is not None or bool(rule.server_names)
