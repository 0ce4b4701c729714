"""ClusterNetworkPolicy: what administrators decide before, and after, everybody else.

    policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy  ->  Policy, or InvalidPolicy

Invariants  A rule keeps its place: the first that matches decides within its tier.
            A `*.` in front of a domain name means any number of labels.
Standards   policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicySpec; NPEP-133 (domain names)
"""

import re
from typing import NamedTuple

from cairn.kube.metadata import Object, metadata_of
from cairn.kube.policy.field import (
    Fields,
    Notes,
    choice,
    fields,
    items,
    network,
    number,
    selector,
    show,
)
from cairn.kube.policy.fqdn import DEEP, read_pattern
from cairn.kube.policy.mode import mode_of
from cairn.kube.policy.network_policy import of_namespaces
from cairn.kube.policy.port import HIGHEST, port_name
from cairn.kube.policy.rule import (
    Action,
    CidrPeer,
    Direction,
    FqdnPeer,
    InvalidPolicy,
    LabelPeer,
    NodePeer,
    Peer,
    Policy,
    PolicyRef,
    PortMatch,
    Rule,
    Tier,
)
from cairn.kube.selector import Selector
from cairn.net import Protocol

KIND = "ClusterNetworkPolicy"
LOWEST_PRECEDENCE = 1000
LONGEST_RULE_NAME = 100

_SPEC = frozenset({"tier", "priority", "subject", "ingress", "egress"})
_TIERS = {"Admin": Tier.ADMIN, "Baseline": Tier.BASELINE}
_ACTIONS = {"Accept": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS}
_PODS = frozenset({"namespaces", "pods"})


class _Side(NamedTuple):
    """One of the two lists of rules: its direction, its word for peers, and what peers may be."""

    direction: Direction
    word: str
    known: frozenset[str]


_SIDES = (
    _Side(Direction.INGRESS, "from", _PODS),
    _Side(Direction.EGRESS, "to", _PODS | {"nodes", "networks", "domainNames"}),
)
_TRANSPORT = {protocol.name.lower(): protocol for protocol in Protocol}
_NAMED = "destinationNamedPort"
_DOMAIN = re.compile(
    r"(\*\.)?([a-z0-9]([-a-z0-9_]*[a-z0-9])?\.)+[a-z0-9]([-a-z0-9_]*[a-z0-9])?\.?",
    re.ASCII | re.IGNORECASE,
)


def read_cluster_network_policy(obj: Object) -> Policy:
    """Return the policy; raises InvalidPolicy."""
    metadata, mode = metadata_of(obj), mode_of(metadata_of(obj))
    spec = fields(obj.get("spec"), "spec", _SPEC)
    tier = choice(spec.get("tier"), "spec.tier", tuple(_TIERS))
    subject = _one(spec.get("subject"), "spec.subject", _PODS)
    notes: Notes = list(mode.findings)
    rules = tuple(rule for side in _SIDES for rule in _rules(spec, side, notes))
    return Policy(
        ref=PolicyRef(KIND, "", metadata.name),
        uid=metadata.uid,
        subject=_pods(subject, "spec.subject"),
        tier=_TIERS[tier],
        priority=number(spec.get("priority"), "spec.priority", 0, LOWEST_PRECEDENCE),
        rules=rules,
        audit=mode.audit,
        disabled=mode.disabled,
        findings=tuple(notes),
    )


def _rules(spec: Fields, side: _Side, notes: Notes) -> list[Rule]:
    name = side.direction.value
    return [
        _rule(raw, f"{name}[{place}]", side, notes)
        for place, raw in enumerate(items(spec.get(name), f"spec.{name}"))
    ]


def _rule(raw: object, place: str, side: _Side, notes: Notes) -> Rule:
    path, word, direction = f"spec.{place}", side.word, side.direction
    found = fields(raw, path, frozenset({"name", "action", word, "protocols"}))
    name = found.get("name", "")
    if not isinstance(name, str) or len(name) > LONGEST_RULE_NAME:
        text = f"{show(name)} is not a text of at most {LONGEST_RULE_NAME} characters"
        raise InvalidPolicy(f"{path}.name", text)
    action = choice(found.get("action"), f"{path}.action", tuple(_ACTIONS))
    listed = items(found.get(word), f"{path}.{word}")
    if not listed:
        raise InvalidPolicy(f"{path}.{word}", "is empty: write whom the rule is about")
    peers: list[Peer] = []
    for index, item in enumerate(listed):
        where = f"{path}.{word}[{index}]"
        one = _one(item, where, side.known)
        if "domainNames" in one and action != "Accept":
            text = f"names are for Accept alone, not for {action}: write networks"
            raise InvalidPolicy(f"{where}.domainNames", text)
        peers += _peers(one, where, notes)
    ports = _protocols(found, path)
    if any(port.name for port in ports) and direction is Direction.EGRESS:
        _has_names(peers, f"{path}.protocols")
    return Rule(place, direction, _ACTIONS[action], tuple(peers), tuple(ports))


def _one(raw: object, path: str, known: frozenset[str]) -> Fields:
    """Return an object with just one of the fields."""
    found = fields(raw, path, known)
    if len(found) != 1:
        raise InvalidPolicy(path, f"needs one of {', '.join(sorted(known))}, and just one")
    return found


def _pods(found: Fields, path: str) -> Selector:
    if "namespaces" in found:
        return Selector(of_namespaces(selector(found["namespaces"], f"{path}.namespaces")))
    where = f"{path}.pods"
    both = fields(found["pods"], where, frozenset({"namespaceSelector", "podSelector"}))
    if "podSelector" not in both:
        raise InvalidPolicy(f"{where}.podSelector", "is missing: write {} for all pods")
    spaces = selector(both.get("namespaceSelector", {}), f"{where}.namespaceSelector")
    pods = selector(both["podSelector"], f"{where}.podSelector")
    return Selector((*of_namespaces(spaces), *pods.requirements))


def _peers(found: Fields, path: str, notes: Notes) -> list[Peer]:
    if "nodes" in found:
        return [NodePeer(selector(found["nodes"], f"{path}.nodes"))]
    for name in ("networks", "domainNames"):
        if name not in found:
            continue
        where = f"{path}.{name}"
        listed = items(found[name], where)
        if not listed:
            raise InvalidPolicy(where, "is empty: write at least one")
        if name == "networks":
            return [
                CidrPeer(network(item, f"{where}[{place}]", notes), inside=True)
                for place, item in enumerate(listed)
            ]
        return [_domain(item, f"{where}[{place}]") for place, item in enumerate(listed)]
    return [LabelPeer(_pods(found, path))]


def _domain(raw: object, path: str) -> FqdnPeer:
    if not isinstance(raw, str) or not _DOMAIN.fullmatch(raw):
        raise InvalidPolicy(
            path, f"{show(raw)} is not a domain name: write one as example.com or *.example.com"
        )
    if raw.startswith("*."):
        return FqdnPeer(pattern=read_pattern(DEEP + raw[2:], path))
    return FqdnPeer(name=read_pattern(raw, path))


def _protocols(found: Fields, path: str) -> list[PortMatch]:
    if "protocols" not in found:
        return []
    where = f"{path}.protocols"
    listed = items(found["protocols"], where)
    if not listed:
        raise InvalidPolicy(where, "is empty: write at least one, or leave it out for all")
    return [_protocol(item, f"{where}[{place}]") for place, item in enumerate(listed)]


def _protocol(raw: object, path: str) -> PortMatch:
    ((word, value),) = _one(raw, path, frozenset({*_TRANSPORT, _NAMED})).items()
    where = f"{path}.{word}"
    if word == _NAMED:
        if not (name := port_name(value)):
            raise InvalidPolicy(where, f"{show(value)} is not the name of a port")
        return PortMatch(None, name=name)
    inner = fields(value, where, frozenset({"destinationPort"}))
    where = f"{where}.destinationPort"
    if not inner:
        raise InvalidPolicy(where, "is missing: write a number, or the range 1 to 65535 for all")
    port = _one(inner["destinationPort"], where, frozenset({"number", "range"}))
    if "number" in port:
        first = last = number(port["number"], f"{where}.number", 1, HIGHEST)
    else:
        span = fields(port["range"], f"{where}.range", frozenset({"start", "end"}))
        first = number(span.get("start"), f"{where}.range.start", 1, HIGHEST)
        last = number(span.get("end"), f"{where}.range.end", 1, HIGHEST)
        if last <= first:
            raise InvalidPolicy(f"{where}.range.end", f"{last} is not greater than start {first}")
    return PortMatch(_TRANSPORT[word], first, last)


def _has_names(peers: list[Peer], path: str) -> None:
    if any(not isinstance(peer, LabelPeer) for peer in peers):
        raise InvalidPolicy(
            path, f"{_NAMED} is for pods: nodes, networks and domainNames name no ports"
        )
