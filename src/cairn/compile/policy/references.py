"""Peers that name other objects, Services and groups of networks, and what they come to.

    ServicePeer, GroupPeer; Services, CidrGroups  ->  peers that stand for themselves

A Service with a selector comes to the pods that it selects; one without to the addresses of its
endpoints, whoever has them. A group comes to its networks, outside the cluster.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cairn.compile.policy.group import host_network
from cairn.kube.cidr_group import CidrGroup
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import (
    NAMESPACE,
    CidrPeer,
    GroupPeer,
    LabelPeer,
    PolicyRef,
    ServicePeer,
)
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.kube.service import Service
from cairn.net import Address

Reference = ServicePeer | GroupPeer
Meaning = tuple[LabelPeer | CidrPeer, ...]


@dataclass(frozen=True, slots=True)
class _Service:
    labels: Mapping[str, str]
    pods: Selector | None
    addresses: tuple[Address, ...]


class References:
    """What is referred to, by which policies."""

    def __init__(self) -> None:
        self._services: dict[Key, _Service] = {}
        self._groups: dict[str, CidrGroup] = {}
        self._users: dict[Reference, Counter[PolicyRef]] = {}
        self._meaning: dict[Reference, Meaning] = {}

    def meaning(self, reference: Reference) -> Meaning:
        """Return what a reference that is used comes to."""
        return self._meaning[reference]

    def users(self, reference: Reference) -> Iterable[PolicyRef]:
        """Return the policies that use a reference."""
        return self._users[reference]

    def use(self, reference: Reference, policy: PolicyRef) -> Meaning:
        """Count one use by a policy; return what is meant that was not before."""
        self._users.setdefault(reference, Counter())[policy] += 1
        if reference in self._meaning:
            return ()
        self._meaning[reference] = self._evaluate(reference)
        return self._meaning[reference]

    def release(self, reference: Reference, policy: PolicyRef) -> Meaning:
        """Take one use back; return what is no longer meant."""
        users = self._users[reference]
        users[policy] -= 1
        if not users[policy]:
            del users[policy]
        if users:
            return ()
        del self._users[reference]
        return self._meaning.pop(reference)

    def put_service(self, service: Service, slices: Iterable[EndpointSlice]) -> None:
        """Take up a Service with its endpoints."""
        found = {address for one in slices for address in one.addresses}
        self._services[service.key] = _Service(
            labels=service.metadata.labels,
            pods=_pods_of(service),
            addresses=() if service.selector else tuple(sorted(found, key=_address_key)),
        )

    def drop_service(self, key: Key) -> None:
        """Forget a Service."""
        self._services.pop(key, None)

    def put_group(self, group: CidrGroup) -> None:
        """Take up a group of networks."""
        self._groups[group.metadata.name] = group

    def drop_group(self, name: str) -> None:
        """Forget a group of networks."""
        self._groups.pop(name, None)

    def renew(
        self, kind: type[ServicePeer] | type[GroupPeer]
    ) -> list[tuple[Reference, Meaning, Meaning]]:
        """Return the references of a kind that mean something else now: before, and after."""
        changed = []
        for reference, before in self._meaning.items():
            if isinstance(reference, kind):
                after = self._evaluate(reference)
                if after != before:
                    changed.append((reference, before, after))
        for reference, _, after in changed:
            self._meaning[reference] = after
        return changed

    def _evaluate(self, reference: Reference) -> Meaning:
        if isinstance(reference, GroupPeer):
            found: Iterable[LabelPeer | CidrPeer] = self._networks(reference)
        else:
            found = self._backends(reference)
        return tuple(dict.fromkeys(found))

    def _networks(self, peer: GroupPeer) -> Iterable[CidrPeer]:
        for name, group in sorted(self._groups.items()):
            chosen = (
                peer.selector.matches(group.metadata.labels)
                if peer.selector is not None
                else name == peer.name
            )
            if chosen:
                yield from (CidrPeer(network, peer.excepts) for network in group.networks)

    def _backends(self, peer: ServicePeer) -> Iterable[LabelPeer | CidrPeer]:
        for key, service in sorted(self._services.items()):
            if peer.namespace not in ("", key.namespace):
                continue
            chosen = (
                peer.selector.matches(service.labels)
                if peer.selector is not None
                else key.name == peer.name
            )
            if not chosen:
                continue
            if service.pods is not None:
                yield LabelPeer(service.pods)
            for address in service.addresses:
                yield CidrPeer(host_network(address), inside=True)


def _pods_of(service: Service) -> Selector | None:
    if not service.selector:
        return None
    wanted = [(NAMESPACE, service.metadata.namespace), *service.selector]
    return Selector(tuple(Requirement(k, Operator.IN, frozenset({v})) for k, v in wanted))


def _address_key(address: Address) -> tuple[int, int]:
    return address.version, int(address)
