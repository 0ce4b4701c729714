"""Policies in the data plane's maps: what changed is written, in an order that is never wrong.

    SubjectPolicy, identities of networks, identities of pods
    ->  maps `policy_peers`, `policy_ports`, `policy_rules`, `identities`, `policy_state`, and the
        policy's part of `endpoints`

Order       counters, port tables, peers, networks, pods, peers that are no more, revision; and by
            `tidy`, a while later, what nothing leads to any more.
Invariants  What the maps hold at the start is the record: equal policies write nothing.
            A subject whose entries do not fit is CLOSED until they do; the node itself keeps what
            it had. A network that does not fit closes the subjects that it makes a difference to.
            A subject whose redirects no proxy serves yet keeps what it had.
Cost        a few system calls for a batch, whatever its size, and two for each pod concerned
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from cairn.abi.structs import EndpointFlag, Identity, PolicyDirection, PolicyFlag
from cairn.apply.policy_endpoints import PolicyEndpoints
from cairn.apply.policy_identities import IdentityMap
from cairn.apply.policy_peers import PeerMap
from cairn.apply.policy_rules import RuleNumbers
from cairn.apply.policy_state import PolicyStateMap
from cairn.apply.policy_subject import Wish, wish_of
from cairn.apply.policy_table import EncodedTable, Numbers, PortOf, encode_table
from cairn.desired.policy import Redirect, SubjectPolicy, Table
from cairn.kube.policy.rule import Direction, RuleRef
from cairn.libbpf import Map
from cairn.net import Address, Network

IDENTITIES = "identities"


class ProxyPorts(Protocol):
    """The ports at which proxies listen (agent.redirects)."""

    def follow(self, identity: int, policy: SubjectPolicy | None) -> None:
        """Take what the policy of an identity says now; None: nobody has the identity."""

    def port(self, identity: int, redirect: Redirect, rule: RuleRef | None = None) -> int:
        """Return the port of a redirect of the identity's policy; 0 if there is none."""

    def ready(self, identity: int, redirect: Redirect) -> bool:
        """Return whether the redirect is served, or had its time."""

    def directions(self, identity: int) -> Collection[Direction]:
        """Return the directions in which connections of an identity may be with a proxy."""


@dataclass(frozen=True, slots=True)
class FixedPorts:
    """Ports of proxies that serve whatever they are asked to."""

    port_of: PortOf
    """The port of a redirect."""

    def follow(self, identity: int, policy: SubjectPolicy | None) -> None:
        """Take note of nothing."""

    def port(self, identity: int, redirect: Redirect, rule: RuleRef | None = None) -> int:
        """Return the port, whoever's redirect it is."""
        return self.port_of(redirect, rule)

    def ready(self, identity: int, redirect: Redirect) -> bool:
        """Return that it is."""
        return True

    def directions(self, identity: int) -> Collection[Direction]:
        """Return none: connections end with their rules."""
        return ()


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What is to be otherwise."""

    subjects: Mapping[int, SubjectPolicy | None] = field(default_factory=dict)
    """By identity; None: there is no such subject any more."""
    networks: Mapping[Network, int | None] = field(default_factory=dict)
    """Identities of networks and single addresses; None: none of its own any more."""
    endpoints: Mapping[Address, int | None] = field(default_factory=dict)
    """Identities of this node's pods; None: the pod is gone."""


class PolicyMaps:
    """What one node's maps hold of policies."""

    def __init__(
        self, maps: Mapping[str, Map], rules: RuleNumbers, ports: ProxyPorts | PortOf
    ) -> None:
        """`ports`: those of proxies that come and go, or a function where all are there always."""
        self._rules = rules
        self._ports: ProxyPorts = FixedPorts(ports) if callable(ports) else ports
        self._peers = PeerMap(maps)
        self._identities = IdentityMap(maps[IDENTITIES])
        self._endpoints = PolicyEndpoints(maps["endpoints"])
        self._state = PolicyStateMap(maps["policy_state"])
        self._cut: frozenset[int] = frozenset()
        self.waiting: dict[int, frozenset[Redirect]] = {}
        """Subjects that wait for a proxy, and for what."""
        self.with_proxies: Callable[[], bool] = lambda: True
        """Whether connections may be with a proxy that no verdict names any more."""

    @property
    def subjects(self) -> Collection[int]:
        """Whose policy the maps hold."""
        return self._peers.subjects.keys()

    @property
    def failed(self) -> Mapping[int, str]:
        """Subjects whose policy the maps do not hold whole, and the map that is full."""
        return {**dict.fromkeys(self._cut, IDENTITIES), **self._peers.failed}

    @property
    def homeless(self) -> Mapping[Network, int]:
        """Networks whose identity does not fit."""
        return self._identities.homeless

    @property
    def proxies(self) -> frozenset[int]:
        """Ports of proxies that the maps may name."""
        return frozenset(self._peers.proxies.numbers)

    @property
    def rules(self) -> frozenset[int]:
        """Rules that the maps name."""
        return frozenset(self._peers.rules)

    @property
    def untidy(self) -> bool:
        """Whether there is anything for `tidy`."""
        return self._peers.untidy

    def holds(self, identity: int) -> bool:
        """Return whether the maps hold a subject whole, as this agent was told."""
        subject = self._peers.subjects.get(identity)
        return subject is not None and subject.flags is not None and not self._is_closed(identity)

    def identity(self, address: Address) -> int | None:
        """Return who a pod's entry says it is, if that is so."""
        return self._endpoints.written(address)

    def flags(self, identity: int) -> EndpointFlag:
        """Return how pods of an identity are judged; CLOSED if its policy is not in the maps."""
        flags = self._flags(identity)
        return EndpointFlag.CLOSED if flags is None else flags

    def is_open(self, address: Address) -> bool:
        """Return whether a pod's entry says who it is, and the maps hold its policy whole."""
        identity = self._endpoints.written(address)
        return identity is not None and self.holds(identity)

    def apply(self, change: PolicyChange) -> list[str]:
        """Make it so; return what failed in words. `failed`, `waiting`, `homeless` say the rest."""
        closed = {*self._cut, *self._peers.failed}
        wishes = self._wishes(change.subjects)
        wrote, wrong = self._peers.write(wishes, before_peers=self._announce_proxies)
        moved, unmoved = self._identities.write(change.networks)
        self._cut = self._cut_off()
        self._endpoints.set(change.endpoints)
        turned = closed ^ {*self._cut, *self._peers.failed}
        turned_pods, unturned = self._endpoints.write({*wishes, *turned}, self._flags)
        for identity, policy in change.subjects.items():
            # While a pod has it, an identity without entries would be open.
            if policy is None and not self._endpoints.has(identity):
                self._peers.forget(identity)
        removed, text = self._peers.remove_unnamed(wishes, self._identities.leads_to)
        changed = wrote or moved or turned_pods or removed
        self._state.write(self._state_flags(), changed=changed)
        return [*wrong, *unmoved, *unturned, *filter(None, [text])]

    def keep_networks(self, networks: Iterable[Network]) -> None:
        """Remove the identities of all networks but these: what an earlier agent left."""
        if self._identities.keep(networks):
            self._state.write(self._state_flags(), changed=True)

    def tidy(self) -> list[str]:
        """Remove what nothing leads to any more; return what failed. Not at once after `apply`."""
        return self._peers.tidy()

    def _wishes(self, subjects: Mapping[int, SubjectPolicy | None]) -> dict[int, Wish]:
        """Return what can be written now; note who waits."""
        plain: dict[int, EncodedTable] = {}
        wishes: dict[int, Wish] = {}
        for identity, policy in subjects.items():
            self.waiting.pop(identity, None)
            self._ports.follow(identity, policy)
            if policy is None:
                continue
            # What is with a proxy stays there, though nobody isolates its pod any more.
            held = self._ports.directions(identity)
            wish = wish_of(policy, self._encoder(identity, plain), held)
            missing = frozenset(r for r in wish.redirects if not self._ports.ready(identity, r))
            if missing:
                self.waiting[identity] = missing
            else:
                wishes[identity] = wish
        return wishes

    def _encoder(
        self, identity: int, plain: dict[int, EncodedTable]
    ) -> Callable[[Table], EncodedTable]:
        """Return what encodes the tables of an identity; those without redirects are anybody's."""
        numbers = Numbers(self._rules.number, partial(self._ports.port, identity))
        own: dict[int, EncodedTable] = {}

        def encode(table: Table) -> EncodedTable:
            known = plain.get(id(table)) or own.get(id(table))
            if known is None:
                known = encode_table(table, numbers)
                (own if known.redirects else plain)[id(table)] = known
            return known

        return encode

    def _announce_proxies(self) -> None:
        """Have programs look for proxies' sockets before any verdict names one."""
        if self._peers.proxies.numbers:
            self._state.raise_flags(PolicyFlag.PROXY_RUNS)

    def _is_closed(self, identity: int) -> bool:
        return identity in self._peers.failed or identity in self._cut

    def _flags(self, identity: int) -> EndpointFlag | None:
        subject = self._peers.subjects.get(identity)
        if subject is None or subject.flags is None:
            return None
        return subject.flags | EndpointFlag.CLOSED if self._is_closed(identity) else subject.flags

    def _cut_off(self) -> frozenset[int]:
        """Return the subjects that would judge a homeless network by another's verdicts."""
        taken = {(own, self._identities.taken_for(n)) for n, own in self.homeless.items()}
        return frozenset(
            identity
            for identity, subject in self._peers.subjects.items()
            for own, other in taken
            for direction in PolicyDirection
            if identity != Identity.HOST
            and subject.at(own, direction) != subject.at(other, direction)
        )

    def _state_flags(self) -> PolicyFlag:
        """Return the flags for all; connections may be with a proxy longer than verdicts."""
        flags = self._state.flags & PolicyFlag.PROXY_RUNS
        if self._peers.proxies.numbers:
            flags |= PolicyFlag.PROXY_RUNS
        elif not self.with_proxies():
            flags = PolicyFlag(0)
        host = self._peers.subjects.get(Identity.HOST)
        if host is None:
            return flags
        if host.flags is None:
            return flags | self._state.flags
        if host.flags & EndpointFlag.INGRESS:
            flags |= PolicyFlag.HOST_INGRESS
        if host.flags & EndpointFlag.EGRESS:
            flags |= PolicyFlag.HOST_EGRESS
        return flags
