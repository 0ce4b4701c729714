"""The rules of a Cilium spec: ingress, egress and what they deny.

    ingress, ingressDeny, egress, egressDeny  ->  Section(rules, requires, findings)

Invariants  An item that names neither peers nor ports allows nothing; it only closes. Nor does one
            that only says what peers must be besides, with or without ports.
            Every item of toPorts is a rule of its own, with the peers of its item.
Standards   cilium.io/v2 IngressRule, IngressDenyRule, EgressRule, EgressDenyRule
"""

from collections.abc import Iterator
from dataclasses import dataclass
from sys import intern

from cairn.kube.finding import Finding
from cairn.kube.policy.cilium_peer import KINDS, Scope, read_peers
from cairn.kube.policy.cilium_port import Traffic, read_traffic
from cairn.kube.policy.cilium_selector import peer_selector
from cairn.kube.policy.field import Fields, choice, fields, items
from cairn.kube.policy.rule import (
    Action,
    CidrPeer,
    Direction,
    FqdnPeer,
    InvalidPolicy,
    Peer,
    Rule,
)
from cairn.kube.selector import Selector


@dataclass(frozen=True, slots=True)
class SectionKind:
    """One list of rules in a spec."""

    name: str
    """Its field."""
    direction: Direction
    """Which way."""
    action: Action
    """What its rules do."""

    @property
    def word(self) -> str:
        """How the fields of peers begin."""
        return "from" if self.direction is Direction.INGRESS else "to"

    @property
    def known(self) -> frozenset[str]:
        """The fields of its items."""
        names = {f"{self.word}{kind}" for kind in KINDS}
        names |= {f"{self.word}Requires", "toPorts", "icmps", "authentication"}
        if self.direction is Direction.INGRESS:
            names -= {"fromServices", "fromFQDNs"}
        if self.action is Action.DENY:
            names -= {"toFQDNs", "authentication"}
        return frozenset(names)


SECTIONS = (
    SectionKind("ingress", Direction.INGRESS, Action.ALLOW),
    SectionKind("ingressDeny", Direction.INGRESS, Action.DENY),
    SectionKind("egress", Direction.EGRESS, Action.ALLOW),
    SectionKind("egressDeny", Direction.EGRESS, Action.DENY),
)
"""In the order in which they are read."""
_KNOWN = {kind.name: kind.known for kind in SECTIONS}


@dataclass(frozen=True, slots=True)
class Section:
    """What the rules of a spec say."""

    rules: tuple[Rule, ...]
    """In the order of the spec."""
    requires: tuple[tuple[Direction, Selector], ...]
    """What peers must be besides."""
    findings: tuple[Finding, ...]
    """What its author should know."""


def read_section(found: Fields, path: str, place: str, namespace: str, *, nodes: bool) -> Section:
    """Return the rules of a spec; `place` goes before their paths, `nodes` is what it is about."""
    rules: list[Rule] = []
    requires: list[tuple[Direction, Selector]] = []
    findings: list[Finding] = []
    scope = Scope(namespace)
    for kind in SECTIONS:
        known = _KNOWN[kind.name]
        for index, raw in enumerate(items(found.get(kind.name), f"{path}.{kind.name}")):
            spot = f"{kind.name}[{index}]"
            where = f"{path}.{spot}"
            item = fields(raw, where, known)
            _authentication(item, where)
            requires += [(kind.direction, each) for each in _requires(item, where, kind, namespace)]
            made = tuple(_rules(item, where, place + spot, kind, scope))
            if nodes:
                _fits_nodes(made, where)
            rules += made
            findings += _advice(made, item, where, kind)
    return Section(tuple(rules), tuple(requires), (*scope.notes, *findings))


def _rules(item: Fields, where: str, spot: str, kind: SectionKind, scope: Scope) -> Iterator[Rule]:
    peers = read_peers(item, where, kind.word, scope)
    traffic = read_traffic(item, where, kind.direction, denies=kind.action is Action.DENY)
    if peers is None and item.get(f"{kind.word}Requires"):
        return  # what is required narrows peers that rules name, and names none itself
    if not peers and (peers is not None or not traffic):
        return
    for each in traffic or (Traffic("", ()),):
        yield Rule(
            path=intern(f"{spot}.{each.path}" if each.path else spot),
            direction=kind.direction,
            action=kind.action,
            peers=peers or (),
            matches=each.matches,
            http=each.http,
            dns=each.dns,
            server_names=each.server_names,
            rate=each.rate,
        )


def _requires(item: Fields, where: str, kind: SectionKind, namespace: str) -> Iterator[Selector]:
    name = f"{kind.word}Requires"
    for place, raw in enumerate(items(item.get(name), f"{where}.{name}")):
        yield peer_selector(raw, f"{where}.{name}[{place}]", namespace)


def _authentication(item: Fields, where: str) -> None:
    path = f"{where}.authentication"
    found = fields(item.get("authentication", {}), path, frozenset({"mode"}))
    if "mode" not in found:
        return
    modes = ("disabled", "required", "test-always-fail")
    if choice(found["mode"], f"{path}.mode", modes) != "disabled":
        raise InvalidPolicy(f"{path}.mode", "peers are not authenticated here: remove it")


def _fits_nodes(made: tuple[Rule, ...], where: str) -> None:
    for rule in made:
        if rule.http is not None or rule.dns is not None or rule.server_names:
            raise InvalidPolicy(where, "traffic of nodes is judged up to layer 4: remove its rules")
        if any(isinstance(peer, FqdnPeer) for peer in rule.peers):
            raise InvalidPolicy(
                f"{where}.toFQDNs", "names that nodes look up are not learnt: write toCIDR"
            )


def _advice(
    made: tuple[Rule, ...], item: Fields, where: str, kind: SectionKind
) -> Iterator[Finding]:
    if item and not made and f"{kind.word}Requires" not in item:
        yield Finding("MatchesNothing", f"{where} matches nothing, for it names nobody; write who")
    if not item and kind.action is Action.DENY:
        yield Finding("MatchesNothing", f"{where} denies nothing; write fromEntities: [all]")
    if kind.action is Action.ALLOW and made:
        yield from _anyone(made[0].peers, where, kind)
    if any(rule.rate is not None for rule in made):
        yield Finding(
            "RateLimitOwn",
            f"{where}: rateLimit is Cairn's own addition, a limit per source address at this port, "
            "whoever the rule is for (scope: total for all together): other systems do not know it",
        )


def _anyone(peers: tuple[Peer, ...], where: str, kind: SectionKind) -> Iterator[Finding]:
    """Find a network of all addresses, which people take for everyone."""
    whole = {
        peer.network.version: peer.network
        for peer in peers
        if isinstance(peer, CidrPeer) and peer.network.prefixlen == 0
    }
    if not whole:
        return
    said = " and ".join(str(whole[version]) for version in sorted(whole))
    missing = "" if len(whole) > 1 else f" and {'IPv6' if 4 in whole else 'IPv4'}"
    yield Finding(
        "WorldOnly",
        f"{where}: {said} is the world outside the cluster: pods and nodes of the cluster{missing} "
        f"are not in it and now denied; write {kind.word}Entities: [all] if anyone is meant",
    )
