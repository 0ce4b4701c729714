"""Pods, and the groups that they make.

    Workload, labels of namespaces  ->  PodKind (a subject)  ->  Group for each of its addresses

A kind is all pods with equal flat labels and named ports: policies select them alike. An address of
theirs makes a group of its own only if it differs in which networks mean it (NetworkPolicy's
ipBlock).

Cost        a pod costs in proportion to its labels and addresses; a network that is named costs in
            proportion to the pods that it holds
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cairn.compile.policy.group import CLUSTER, FIRST_POD, Group
from cairn.compile.policy.journal import Journal
from cairn.compile.policy.networks import InsideNetworks
from cairn.compile.policy.numbering import digest_of
from cairn.compile.policy.registry import Registry
from cairn.compile.policy.spelling import spell_peer
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import CidrPeer, workload_labels
from cairn.kube.policy.workload import NamedPort, Workload
from cairn.net import Address, Network

_NATURES = frozenset({CLUSTER})


@dataclass(eq=False, slots=True)
class PodKind:
    """All pods that policies select alike."""

    digest: bytes
    """Of labels and ports."""
    labels: Mapping[str, str]
    """Flat labels."""
    ports: tuple[NamedPort, ...]
    """Named ports."""
    groups: dict[frozenset[CidrPeer], Group] = field(default_factory=dict)
    """By which networks mean them."""
    local: int = 0
    """How many of its pods are on the own node."""


@dataclass(eq=False, slots=True)
class _Pod:
    workload: Workload
    kind: PodKind
    groups: tuple[Group, ...]


class Pods:
    """Every pod that is a subject."""

    def __init__(
        self,
        node: str | None,
        registry: Registry,
        journal: Journal,
        inside: InsideNetworks,
        on_kind: Callable[[PodKind], None],
    ) -> None:
        self._node = node
        self._registry = registry
        self._journal = journal
        self._inside = inside
        self._on_kind = on_kind
        self._pods: dict[Key, _Pod] = {}
        self._hosted: dict[Key, Workload] = {}
        self._kinds: dict[bytes, PodKind] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._members: dict[str, dict[Key, None]] = {}
        self._owners: dict[Address, tuple[Key, ...]] = {}
        self._ordered: dict[int, list[Address]] = {4: [], 6: []}

    def __len__(self) -> int:
        return len(self._pods)

    def put(self, workload: Workload) -> None:
        """Take up a pod."""
        key = workload.key
        before = self._pods.get(key)
        if workload.host_network:
            self.drop(key)
            self._hosted[key] = workload
            self._journal.pods.add(key)
            return
        if self._hosted.pop(key, None) is not None:
            self._journal.pods.add(key)
        if before is not None and before.workload == workload:
            return
        self._members.setdefault(workload.namespace, {})[key] = None
        self._replace(key, workload)

    def drop(self, key: Key) -> None:
        """Forget a pod."""
        if self._hosted.pop(key, None) is not None:
            self._journal.pods.add(key)
        if key not in self._pods:
            return
        members = self._members[key.namespace]
        del members[key]
        if not members:
            del self._members[key.namespace]
        self._replace(key, None)

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Take up the labels of a namespace; its pods change with them."""
        if self._namespaces.get(name, {}) == labels:
            return
        self._namespaces[name] = dict(labels)
        self._regroup(tuple(self._members.get(name, ())))

    def drop_namespace(self, name: str) -> None:
        """Forget the labels of a namespace."""
        if self._namespaces.pop(name, None):
            self._regroup(tuple(self._members.get(name, ())))

    def regroup_inside(self, network: Network) -> None:
        """Look again at the pods with an address in `network`."""
        addresses = self._ordered[network.version]
        first = bisect_left(addresses, network.network_address)
        last = bisect_right(addresses, network.broadcast_address)
        keys = {key for address in addresses[first:last] for key in self._owners[address]}
        self._regroup(sorted(keys))

    def hosted(self, key: Key) -> Workload | None:
        """Return a pod that has its node's own network."""
        return self._hosted.get(key)

    def group_of(self, key: Key) -> Group | None:
        """Return the group of a pod's first address, None if there is no such pod."""
        pod = self._pods.get(key)
        return pod.groups[0] if pod is not None else None

    def groups_of(self, key: Key) -> dict[Address, Group]:
        """Return the groups of all addresses of a pod."""
        pod = self._pods.get(key)
        if pod is None:
            return {}
        return dict(zip(pod.workload.addresses, pod.groups, strict=False))

    def group_at(self, address: Address) -> Group | None:
        """Return the group of an address; of several pods that claim it the first by name."""
        owners = self._owners.get(address)
        if not owners:
            return None
        pod = self._pods[owners[0]]
        return pod.groups[pod.workload.addresses.index(address)]

    def owner(self, address: Address) -> Key | None:
        """Return the pod at an address; of several that claim it the first by name."""
        return next(iter(self._owners.get(address, ())), None)

    def workload(self, key: Key) -> Workload | None:
        """Return a pod, as it was taken up."""
        pod = self._pods.get(key)
        return pod.workload if pod is not None else self._hosted.get(key)

    def addresses(self) -> Iterator[tuple[Address, Group]]:
        """Yield every address of a pod with its group."""
        for address in self._owners:
            group = self.group_at(address)
            if group is not None:
                yield address, group

    def kinds(self) -> Iterable[PodKind]:
        """Return every kind of pods."""
        return self._kinds.values()

    def holders(self, groups: set[Group]) -> Iterator[tuple[Key, tuple[Address, ...]]]:
        """Yield the pods of some groups, with their addresses."""
        for key, pod in self._pods.items():
            if not groups.isdisjoint(pod.groups):
                yield key, pod.workload.addresses

    def _regroup(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._replace(key, self._pods[key].workload)

    def _replace(self, key: Key, workload: Workload | None) -> None:
        before = self._pods.get(key)
        was = self._identities(before)
        # The new groups come before the old ones go, so that one that stays is never gone.
        after = self._make(workload) if workload is not None else None
        if after is not None:
            self._pods[key] = after
            self._claim(key, after.workload.addresses)
        else:
            del self._pods[key]
        if before is not None:
            kept = set(after.workload.addresses) if after is not None else set()
            self._disclaim(key, [a for a in before.workload.addresses if a not in kept])
            self._unmake(before)
        now = self._identities(after)
        if was != now or (before is None) != (after is None):
            self._journal.pods.add(key)
        for address in was.keys() | now.keys():
            if was.get(address) != now.get(address):
                self._journal.addresses.add(address)

    @staticmethod
    def _identities(pod: _Pod | None) -> dict[Address, int]:
        if pod is None:
            return {}
        return {
            address: group.number
            for address, group in zip(pod.workload.addresses, pod.groups, strict=False)
        }

    def _make(self, workload: Workload) -> _Pod:
        kind = self._kind(workload)
        meanings = [self._inside.meaning(address) for address in workload.addresses]
        groups = tuple(self._group(kind, inside) for inside in meanings or [frozenset()])
        if self._node is None or workload.node == self._node:
            kind.local += 1
        self._on_kind(kind)
        return _Pod(workload, kind, groups)

    def _unmake(self, pod: _Pod) -> None:
        kind = pod.kind
        if self._node is None or pod.workload.node == self._node:
            kind.local -= 1
        for group in pod.groups:
            self._registry.release(group)
            if not group.users:
                del kind.groups[group.inside]
        if not kind.groups:
            del self._kinds[kind.digest]
        self._on_kind(kind)

    def _kind(self, workload: Workload) -> PodKind:
        labels = workload_labels(
            workload.labels,
            namespace=workload.namespace,
            namespace_labels=self._namespaces.get(workload.namespace, {}),
            service_account=workload.service_account,
        )
        ports = [(port.name, int(port.protocol), port.port) for port in workload.ports]
        text = f"{sorted(labels.items())} {ports}"
        digest = digest_of(text)
        kind = self._kinds.get(digest)
        if kind is None:
            kind = self._kinds[digest] = PodKind(digest, labels, workload.ports)
        return kind

    def _group(self, kind: PodKind, inside: frozenset[CidrPeer]) -> Group:
        group = kind.groups.get(inside)
        if group is not None:
            group.users += 1
            return group
        text = f"pod {kind.digest.hex()} {sorted(map(spell_peer, inside))}"
        group = self._registry.use(
            FIRST_POD,
            text,
            lambda: Group(
                number=0,
                labels=kind.labels,
                natures=_NATURES,
                is_pod=True,
                ports=kind.ports,
                inside=inside,
            ),
        )
        kind.groups[inside] = group
        return group

    def _claim(self, key: Key, addresses: Iterable[Address]) -> None:
        for address in addresses:
            owners = self._owners.get(address, ())
            if not owners:
                insort(self._ordered[address.version], address)
            if key not in owners:
                self._owners[address] = tuple(sorted((*owners, key)))

    def _disclaim(self, key: Key, addresses: Iterable[Address]) -> None:
        for address in addresses:
            owners = tuple(owner for owner in self._owners.get(address, ()) if owner != key)
            if owners or address not in self._owners:
                self._owners |= {address: owners} if owners else {}
                continue
            del self._owners[address]
            ordered = self._ordered[address.version]
            place = bisect_left(ordered, address)
            del ordered[place]
