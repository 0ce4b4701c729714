"""Least-privilege policies from recorded flows, one for each workload, as people write them.

    flows, World  ->  Suggestion(policy, how many flows each rule is for)

Invariants  Every flow that was taken passes under the suggestions together, and none of their
            rules can be left out: each is needed by some flow (a rule for the DNS that names need
            is written all the same).
Not here    Their text (suggest_text).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cairn.diagnose.policy.miss import ICMP, ICMPV6, Place
from cairn.diagnose.policy.seen import DNS_PORT, Party, Seen
from cairn.kube.policy.rule import NAMESPACE, Direction
from cairn.net import Protocol

MOST_NAMES = 8
"""More names than this that are asked for become a pattern."""
MOST_ADDRESSES = 16
"""More single addresses than this become the world."""


@dataclass(slots=True)
class SuggestedRule:
    """One rule, and what it is for."""

    direction: Direction
    """Which way."""
    kind: str
    """pod, entity, address or name: a rule has peers of one kind."""
    peers: tuple[Party, ...]
    """Who."""
    places: tuple[Place, ...]
    """At which ports."""
    names: tuple[str, ...] = ()
    """Names that may be asked for there; none: no condition."""
    seen: dict[Seen, int] = field(default_factory=dict)
    """Connections that it lets through."""

    @property
    def flows(self) -> int:
        """How many flows it is for."""
        return sum(self.seen.values())


@dataclass(slots=True)
class Suggestion:
    """One workload's policy."""

    subject: Party
    """Whose."""
    rules: list[SuggestedRule]
    """Ingress first."""
    name: str = ""
    """Of the object."""


def suggest(seen: Mapping[Seen, int], namespace: str | None = None) -> list[Suggestion]:
    """Return a policy for each workload that was seen, of one namespace or of all."""
    gathered: dict[Party, dict[tuple[Direction, Party], dict[Seen, int]]] = {}
    for one, count in seen.items():
        for subject, other, direction in (
            (one.receiver, one.sender, Direction.INGRESS),
            (one.sender, one.receiver, Direction.EGRESS),
        ):
            if subject.kind == "pod" and namespace in (None, subject.namespace):
                peers = gathered.setdefault(subject, {})
                peers.setdefault((direction, other), {})[one] = count
    found = [
        Suggestion(subject, _rules(peers))
        for subject, peers in sorted(gathered.items(), key=lambda i: (i[0].namespace, i[0].labels))
    ]
    _drop_needless(found)
    _name(found)
    return found


def _rules(peers: Mapping[tuple[Direction, Party], dict[Seen, int]]) -> list[SuggestedRule]:
    """Return rules with those peers together that are let through at the same ports."""
    alike: dict[tuple[Any, ...], list[tuple[Party, dict[Seen, int]]]] = {}
    for (direction, party), seen in peers.items():
        places = frozenset(one.place for one in seen)
        icmp = frozenset(p for p in places if p.protocol in (ICMP, ICMPV6))
        for group in (places - icmp, icmp):
            if group:
                part = {one: count for one, count in seen.items() if one.place in group}
                key = direction, party.kind, group, party.kind == "pod" and _asks(part)
                alike.setdefault(key, []).append((party, part))
    rules = [
        SuggestedRule(
            direction,
            kind,
            tuple(sorted({party for party, _ in parts}, key=_order)),
            tuple(sorted(group, key=lambda p: (p.protocol, p.port))),
            seen={one: count for _, part in parts for one, count in part.items()},
        )
        for (direction, kind, group, _), parts in alike.items()
    ]
    _ask_names(rules)
    rules.sort(key=lambda r: (r.direction is Direction.EGRESS, -r.flows, r.peers[0].word))
    return [_widened(rule) for rule in rules]


def _asks(seen: Mapping[Seen, int]) -> bool:
    return any(one.place.port == DNS_PORT for one in seen)


def _order(party: Party) -> tuple[str, tuple[tuple[str, str], ...], str]:
    return party.namespace, party.labels, party.word


def _ask_names(rules: list[SuggestedRule]) -> None:
    """Give the rule for the DNS its names, if other rules name any: addresses are learnt there."""
    wanted = {p.word for rule in rules if rule.kind == "name" for p in rule.peers}
    if not wanted:
        return
    for rule in rules:
        if rule.direction is not Direction.EGRESS or not _asks(rule.seen):
            continue
        asked = {one.query for one in rule.seen if one.query}
        known = all(one.query for one in rule.seen if one.place.port == DNS_PORT)
        names = asked | wanted
        few = known and len(names) <= MOST_NAMES
        rule.names = tuple(sorted(names)) if few else ("*",)


def _widened(rule: SuggestedRule) -> SuggestedRule:
    """Return the rule with the world in place of very many single addresses."""
    if rule.kind != "address" or len(rule.peers) <= MOST_ADDRESSES:
        return rule
    return replace(rule, kind="entity", peers=(Party("entity", word="world"),))


def _drop_needless(suggestions: list[Suggestion]) -> None:
    """Leave out rules whose flows are all let through by others: labels may select more."""
    for direction in Direction:
        by_flow: dict[Seen, int] = {}
        rules = [(s, r) for s in suggestions for r in s.rules if r.direction is direction]
        covered = {id(r): _covered(s, r, rules) for s, r in rules}
        for flows in covered.values():
            for one in flows:
                by_flow[one] = by_flow.get(one, 0) + 1
        for suggestion, rule in sorted(rules, key=lambda pair: pair[1].flows):
            own = covered[id(rule)]
            if all(by_flow[one] > 1 for one in own):
                suggestion.rules = [other for other in suggestion.rules if other is not rule]
                for one in own:
                    by_flow[one] -= 1


def _covered(
    suggestion: Suggestion, rule: SuggestedRule, rules: Iterable[tuple[Suggestion, SuggestedRule]]
) -> set[Seen]:
    """Return all connections that a rule lets through, those of other workloads among them."""
    every = {one for _, other in rules for one in other.seen}
    return {one for one in every if _lets(suggestion.subject, rule, one)}


def _lets(subject: Party, rule: SuggestedRule, one: Seen) -> bool:
    inward = rule.direction is Direction.INGRESS
    own, other = (one.receiver, one.sender) if inward else (one.sender, one.receiver)
    if own.kind != "pod" or not _means(subject, own) or one.place not in rule.places:
        return False
    if rule.names and one.query and rule.names != ("*",) and one.query not in rule.names:
        return False
    return any(_means(peer, other) for peer in rule.peers)


def _means(party: Party, other: Party) -> bool:
    if party.kind == "pod":
        return (
            other.kind == "pod"
            and party.namespace == other.namespace
            and set(party.labels) <= set(other.labels)
        )
    if party.word == "world":
        return other.kind in ("address", "name") or other.word.startswith("world")
    return party == other


def _name(suggestions: list[Suggestion]) -> None:
    used: set[tuple[str, str]] = set()
    for suggestion in suggestions:
        base = "".join(c if c.isalnum() else "-" for c in suggestion.subject.title.lower())
        base = base.strip("-")[:50] or "workload"
        name, number = base, 2
        while (suggestion.subject.namespace, name) in used:
            name, number = f"{base}-{number}", number + 1
        used.add((suggestion.subject.namespace, name))
        suggestion.name = name


def rule_of(rule: SuggestedRule, namespace: str) -> dict[str, Any]:
    """Return a rule as a CiliumNetworkPolicy has it."""
    way = "from" if rule.direction is Direction.INGRESS else "to"
    match rule.kind:
        case "pod":
            peers: Any = [{"matchLabels": _match_labels(p, namespace)} for p in rule.peers]
            spelt = {f"{way}Endpoints": peers}
        case "entity":
            spelt = {f"{way}Entities": [p.word for p in rule.peers]}
        case "address":
            spelt = {f"{way}CIDR": [p.word for p in rule.peers]}
        case _:
            spelt = {f"{way}FQDNs": [{"matchName": p.word} for p in rule.peers]}
    return spelt | _at(rule)


def _match_labels(party: Party, namespace: str) -> dict[str, str]:
    labels = dict(party.labels)
    if party.namespace != namespace or not labels:
        labels[f"k8s:{NAMESPACE}"] = party.namespace
    return labels


def _at(rule: SuggestedRule) -> dict[str, Any]:
    if rule.places[0].protocol in (ICMP, ICMPV6):
        fields = [
            {"type": place.port >> 8, "family": "IPv4" if place.protocol == ICMP else "IPv6"}
            for place in rule.places
        ]
        return {"icmps": [{"fields": _distinct(fields)}]}
    ports = [
        {"port": str(place.port), "protocol": Protocol(place.protocol).name}
        for place in rule.places
    ]
    at: dict[str, Any] = {"ports": ports}
    if rule.names:
        asked = [{"matchPattern" if "*" in n else "matchName": n} for n in rule.names]
        at["rules"] = {"dns": asked}
    return {"toPorts": [at]}


def _distinct(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def policy_object(suggestion: Suggestion) -> dict[str, Any]:
    """Return the object; a direction in which nothing was seen is closed."""
    namespace = suggestion.subject.namespace
    spec: dict[str, Any] = {"endpointSelector": {"matchLabels": dict(suggestion.subject.labels)}}
    if not suggestion.subject.labels:
        spec["endpointSelector"] = {}
    for direction in Direction:
        own = [r for r in suggestion.rules if r.direction is direction]
        spec[direction.value] = [rule_of(rule, namespace) for rule in own] or [{}]
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": suggestion.name, "namespace": namespace},
        "spec": spec,
    }
