"""Keys of dictionaries: given to what is new, and translated from another's.

    End, Decision, ...  ->  key          (Numbering: by content)
    Batch of a node  ->  Batch of ours   (Renumbering: one for each node)

Invariants  A key stands for one thing for ever: what was forgotten gets a new key when it comes
            again. `floors` tells readers which keys they may still meet.
            Memory is bounded: a numbering that has given `limit` keys forgets them all.
"""

from collections.abc import Hashable
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from cairn.flow.columns import Batch, Decision, Detail, Dictionaries, End, Floors, interface_key

T = TypeVar("T", bound=Hashable)
LIMIT = 16_384
LAST_KEY = 0xFFFF_FFFF
Keys = np.ndarray[tuple[int], np.dtype[np.uint32]]


class Numbering(Generic[T]):
    """Keys by content; 0 is nothing."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.floor = 1
        self.epoch = 0
        """Counts how often all was forgotten."""
        self._limit = limit
        self._next = 1
        self._keys: dict[T, int] = {}
        self._added: dict[int, T] = {}

    def key(self, value: T) -> int:
        """Return the key of a value, a new one if it has none."""
        found = self._keys.get(value)
        if found is None:
            found = self._keys[value] = self._next
            self._added[found] = value
            self._next += 1
        return found

    def take_added(self) -> dict[int, T]:
        """Return the keys that are new since the last call."""
        added, self._added = self._added, {}
        return added

    def forget_if_full(self) -> bool:
        """Forget all keys if there are many: between batches only. Return whether it did."""
        if len(self._keys) < self._limit:
            return False
        self._keys.clear()
        self.floor = self._next
        self.epoch += 1
        return True


class Numberings:
    """The numberings of one who makes batches."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.ends = Numbering[End](limit)
        self.decisions = Numbering[Decision](limit)
        self.nodes = Numbering[str](limit)
        self._details: dict[int, Detail] = {}
        self._next_detail = 1
        self._node_labels: dict[int, tuple[str, ...]] = {}
        self._interfaces: dict[int, str] = {}
        self._kernel_reasons: dict[int, str] = {}

    def detail(self, value: Detail) -> int:
        """Return a new key: no two flows share a detail."""
        key = self._next_detail
        self._next_detail = key % LAST_KEY + 1
        self._details[key] = value
        return key

    def label_node(self, node: int, labels: tuple[str, ...]) -> None:
        """Tell the labels of a node."""
        self._node_labels[node] = labels

    def name_interface(self, node: int, ifindex: int, name: str) -> None:
        """Tell the name of an interface."""
        self._interfaces[interface_key(node, ifindex)] = name

    def name_kernel_reason(self, node: int, number: int, name: str) -> None:
        """Tell what the kernel of a node calls a reason to drop."""
        self._kernel_reasons[interface_key(node, number)] = name

    def take(self) -> tuple[Dictionaries, Floors]:
        """Return what a batch adds, and its floors; what is full is forgotten after it."""
        added = Dictionaries(
            ends=self.ends.take_added(),
            decisions=self.decisions.take_added(),
            details=self._details,
            nodes=self.nodes.take_added(),
            node_labels=self._node_labels,
            interfaces=self._interfaces,
            kernel_reasons=self._kernel_reasons,
        )
        floors = Floors(self.ends.floor, self.decisions.floor)
        self._details, self._node_labels = {}, {}
        self._interfaces, self._kernel_reasons = {}, {}
        self.ends.forget_if_full()
        self.decisions.forget_if_full()
        return added, floors


class Renumbering:
    """Turns one node's batches into such as have the keys of `ours`."""

    def __init__(self, ours: Numberings) -> None:
        self._ours = ours
        self._theirs = Dictionaries()
        self._ends = _Translation[End](ours.ends)
        self._decisions = _Translation[Decision](ours.decisions)

    def batch(self, batch: Batch) -> Batch:
        """Return the batch with our keys; to be taken in before the next one is made."""
        ours = self._ours
        self._theirs.nodes.update(batch.added.nodes)
        records = batch.records.copy()
        self._ends.learn(batch.added.ends, batch.floors.ends)
        self._decisions.learn(batch.added.decisions, batch.floors.decisions)
        for column in ("source_end", "destination_end"):
            records[column] = self._ends.translate(records[column])
        records["decision"] = self._decisions.translate(records["decision"])
        details = {old: ours.detail(value) for old, value in batch.added.details.items()}
        records["detail"] = _look_up(records["detail"], details)
        nodes = {old: ours.nodes.key(name) for old, name in self._theirs.nodes.items()}
        records["node"] = _look_up(records["node"], nodes)
        for old, labels in batch.added.node_labels.items():
            if old in nodes:
                ours.label_node(nodes[old], labels)
        for key, name in batch.added.interfaces.items():
            node, ifindex = key >> 32, key & 0xFFFF_FFFF
            if node in nodes:
                ours.name_interface(nodes[node], ifindex, name)
        for key, name in batch.added.kernel_reasons.items():
            node, number = key >> 32, key & 0xFFFF_FFFF
            if node in nodes:
                ours.name_kernel_reason(nodes[node], number, name)
        added, floors = ours.take()
        return replace(batch, records=records, added=added, floors=floors)


class _Translation(Generic[T]):
    """From their keys of one kind to ours."""

    def __init__(self, ours: Numbering[T]) -> None:
        self._ours = ours
        self._epoch = ours.epoch
        self._values: dict[int, T] = {}
        self._keys: dict[int, int] = {}

    def learn(self, added: dict[int, T], floor: int) -> None:
        """Take their new entries; forget those that no later flow has."""
        if self._epoch != self._ours.epoch:
            self._epoch = self._ours.epoch
            self._keys.clear()
        self._values.update(added)
        if len(self._values) > 2 * LIMIT:
            self._values = {k: v for k, v in self._values.items() if k >= floor or k in added}
            self._keys = {k: v for k, v in self._keys.items() if k in self._values}

    def translate(self, theirs: Keys) -> Keys:
        """Return our keys; 0 for what they never told of."""
        used, where = np.unique(theirs, return_inverse=True)
        return np.array([self._key(old) for old in used.tolist()], np.uint32)[where]

    def _key(self, old: int) -> int:
        found = self._keys.get(old)
        if found is None:
            value = self._values.get(old) if old else None
            if value is None:
                return 0
            found = self._keys[old] = self._ours.key(value)
        return found


def _look_up(theirs: Keys, keys: dict[int, int]) -> Keys:
    used, where = np.unique(theirs, return_inverse=True)
    return np.array([keys.get(old, 0) for old in used.tolist()], np.uint32)[where]
