"""Equal parts of policies made one: thirty thousand policies repeat each other.

    Policy  ->  an equal one, of parts that others have too

Cost        a few microseconds for each part; the last few thousand are remembered. It halves the
            memory of a cluster's policies.
"""

from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import lru_cache
from sys import intern
from typing import TypeVar

from cairn.kube.policy.rule import (
    GroupPeer,
    LabelPeer,
    NodePeer,
    Peer,
    Policy,
    Rule,
    ServicePeer,
)
from cairn.kube.selector import Requirement, Selector

REMEMBERED = 16384

Part = TypeVar("Part", bound=Hashable)


def shared_policy(policy: Policy) -> Policy:
    """Return an equal policy that shares its parts with others."""
    return replace(
        policy,
        ref=policy.ref._replace(
            kind=intern(policy.ref.kind), namespace=intern(policy.ref.namespace)
        ),
        subject=policy.subject and _selector(policy.subject),
        nodes=policy.nodes and _selector(policy.nodes),
        isolates=_same(policy.isolates),
        rules=tuple(map(_rule, policy.rules)),
        requires=_same(policy.requires),
    )


def _rule(rule: Rule) -> Rule:
    peers = tuple(map(_peer, rule.peers))
    return replace(
        rule,
        path=intern(rule.path),
        peers=_same(peers),
        matches=_same(rule.matches),
        http=_same(rule.http),
        dns=_same(rule.dns),
        server_names=_same(rule.server_names),
    )


def _peer(peer: Peer) -> Peer:
    if isinstance(peer, LabelPeer | NodePeer | GroupPeer | ServicePeer) and peer.selector:
        return _same(replace(peer, selector=_selector(peer.selector)))
    return _same(peer)


def _selector(selector: Selector) -> Selector:
    requirements = tuple(_same(_requirement(one)) for one in selector.requirements)
    return _same(Selector(requirements))


def _requirement(requirement: Requirement) -> Requirement:
    values = frozenset(intern(value) for value in requirement.values)
    return replace(requirement, key=intern(requirement.key), values=_same(values))


# Typed: equal values of different types are not the same part.
_remembered: Callable[[Hashable], Hashable] = lru_cache(REMEMBERED, typed=True)(lambda part: part)


def _same(part: Part) -> Part:
    """Return the part that is equal and was seen first."""
    return _remembered(part)  # type: ignore[return-value]
