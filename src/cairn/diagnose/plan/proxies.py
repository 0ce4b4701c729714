"""Which workloads' connections go through a proxy, by what policies say.

World before, World after  ->  ProxyChange
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from cairn.desired.policy import DirectionPolicy, Redirect
from cairn.diagnose.policy.world import World


@dataclass(frozen=True, slots=True)
class ProxyChange:
    """One workload whose way through a proxy begins, ends or changes."""

    workload: str
    """Namespace and name."""
    direction: str
    """`ingress`: connections to it; `egress`: connections that it opens."""
    before: tuple[str, ...]
    """What is judged by a proxy now: `HTTP tcp/8080`."""
    after: tuple[str, ...]
    """What would be."""


Ways = dict[tuple[str, str], frozenset[str]]


def proxy_changes(before: World, after: World) -> Iterator[ProxyChange]:
    """Yield what differs."""
    old, new = _ways(before), _ways(after)
    for key in sorted(old.keys() | new.keys()):
        was, will = old.get(key, frozenset()), new.get(key, frozenset())
        if was != will:
            yield ProxyChange(*key, tuple(sorted(was)), tuple(sorted(will)))


def _ways(world: World) -> Ways:
    found: Ways = {}
    engine = world.engine
    subjects = engine.subjects()
    for key, pod in world.pods.items():
        identity = engine.identity_of(key)
        if identity not in subjects:
            continue  # in the network of its node: no policy of pods is for it
        policy = engine.policy_of(identity)
        directions: Mapping[str, DirectionPolicy | None] = {
            "ingress": policy.ingress,
            "egress": policy.egress,
        }
        for name, direction in directions.items():
            told = frozenset(_told(direction)) if direction else frozenset()
            if told:
                place = pod.group, name
                found[place] = found.get(place, frozenset()) | told
    return found


def _told(direction: DirectionPolicy) -> Iterator[str]:
    tables = chain((direction.rest,), direction.peers.values())
    for table in tables:
        if table.rest.redirect:
            yield f"{_kind(table.rest.redirect)} any port"
        for span in table.ranges:
            if span.verdict.redirect:
                ports = str(span.first) if span.first == span.last else f"{span.first}-{span.last}"
                protocol = {6: "tcp", 17: "udp"}.get(span.protocol, str(span.protocol))
                yield f"{_kind(span.verdict.redirect)} {protocol}/{ports}"


def _kind(redirect: Redirect) -> str:
    if redirect.dns is not None:
        return "DNS"
    return "TLS name" if redirect.server_names else "HTTP"
