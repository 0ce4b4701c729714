"""Recorded flows as connections between workloads: what there is to write policies for.

flows, World  ->  Seen(sender, receiver, port, how many)

Invariants  Only what passed is taken, and no replies. What a node sends to its own pods is left
            out: it passes whatever a policy says.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cairn.abi.structs import Identity
from cairn.diagnose.policy.end import End, Kind
from cairn.diagnose.policy.miss import Place
from cairn.diagnose.policy.replay import PASSED, Replayer
from cairn.diagnose.policy.stable import FINER, lasting_labels, stable_labels
from cairn.diagnose.policy.world import World
from cairn.flow.record import Flow
from cairn.kube.policy.rule import RESERVED

DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Party:
    """One end as policies name it."""

    kind: str
    """pod, entity, address or name."""
    namespace: str = ""
    """Of pods."""
    labels: tuple[tuple[str, str], ...] = ()
    """By which pods are selected."""
    word: str = ""
    """The entity, the address, or the name."""

    @property
    def title(self) -> str:
        """What pods with these labels are called."""
        values = [value for _, value in self.labels]
        return "-".join(dict.fromkeys(values)) or "all-pods"


@dataclass(frozen=True, slots=True)
class Seen:
    """Connections of one kind."""

    sender: Party
    receiver: Party
    place: Place
    """Where they were received."""
    query: str = ""
    """Name that was asked for, if it is a query to the DNS."""


class Parties:
    """Names for ends: pods by labels that tell workloads apart, all others by what they are."""

    def __init__(self, world: World) -> None:
        self._replayer = Replayer(world)
        self._known: dict[str, set[tuple[tuple[str, str], ...]]] = {}
        for pod in world.pods.values():
            self._learn(pod.key.namespace, lasting_labels(pod.workload.labels))

    def ends(self, flow: Flow) -> tuple[End, End]:
        """Return both ends of a flow."""
        return (
            self._replayer.end(flow.source, flow.source_address),
            self._replayer.end(flow.destination, flow.destination_address, flow.names),
        )

    def learn(self, end: End) -> None:
        """Take note of a pod's labels, by which others must be told apart."""
        if end.kind is Kind.POD:
            self._learn(end.namespace, lasting_labels(end.own_labels))

    def _learn(self, namespace: str, labels: dict[str, str]) -> None:
        self._known.setdefault(namespace, set()).add(tuple(sorted(labels.items())))

    def party(self, end: End) -> Party:
        """Return how policies name an end."""
        if end.kind is Kind.POD:
            return Party("pod", end.namespace, self._labels(end))
        if end.dns_name:
            return Party("name", word=end.dns_name)
        if end.kind is Kind.WORLD and end.address is not None:
            return Party("address", word=f"{end.address}/{end.address.max_prefixlen}")
        if end.identity == Identity.HOST:
            return Party("entity", word="host")
        words = [key.removeprefix(RESERVED) for key in end.labels if key.startswith(RESERVED)]
        return Party("entity", word=words[0] if words else "world")

    def _labels(self, end: End) -> tuple[tuple[str, str], ...]:
        """Return the fewest stable labels that no other workload of the namespace has."""
        lasting = lasting_labels(end.own_labels)
        own = tuple(sorted(lasting.items()))
        chosen = stable_labels(lasting)
        others = [set(o) for o in self._known.get(end.namespace, ()) if o != own]
        if not any(chosen.items() <= other for other in others):
            return tuple(sorted(chosen.items()))
        for key in (*FINER, *lasting):
            if key in lasting:
                chosen[key] = lasting[key]
                if not any(chosen.items() <= other for other in others):
                    break
        return tuple(sorted(chosen.items()))


def observe(flows: Iterable[Flow], world: World) -> dict[Seen, int]:
    """Return the connections that passed, with how many flows there were of each."""
    parties = Parties(world)
    kept: list[tuple[End, End, Flow]] = []
    for flow in flows:
        if flow.is_reply or flow.verdict not in PASSED:
            continue
        sender, receiver = parties.ends(flow)
        parties.learn(sender)
        parties.learn(receiver)
        kept.append((sender, receiver, flow))
    found: dict[Seen, int] = {}
    for sender, receiver, flow in kept:
        if _own_node(sender, receiver) or Kind.POD not in (sender.kind, receiver.kind):
            continue
        place = Place(flow.protocol, flow.port)
        seen = Seen(parties.party(sender), parties.party(receiver), place, flow.dns_query)
        found[seen] = found.get(seen, 0) + flow.times
    return found


def _own_node(sender: End, receiver: End) -> bool:
    if sender.kind is not Kind.NODE or receiver.kind is not Kind.POD:
        return False
    return sender.identity == Identity.HOST or (bool(sender.node) and sender.node == receiver.node)
