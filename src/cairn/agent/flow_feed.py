"""Where the node's flows go: into the store, and to whoever listens.

    Batch  ->  FlowStore, Subscription ...

Invariants  A subscriber that is slower than the flows loses the oldest of what waits for it, and
            is told how many: its memory is bounded by MOST_WAITING flows. Nobody else waits.
            What a subscriber gets is whole: dictionary entries of batches that it missed come with
            the next one.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from cairn.flow.columns import Batch, Dictionaries
from cairn.flow.store import FlowStore

MOST_WAITING = 65_536


class Delivery(NamedTuple):
    """What a subscriber gets."""

    batch: Batch
    """Flows that are new."""
    missed: int
    """How many before them it did not get."""


class Subscription:
    """One who gets every batch from now on."""

    def __init__(self, on_close: Callable[["Subscription"], None]) -> None:
        self._waiting: deque[Batch] = deque()
        self._count = 0
        self._missed = 0
        self._arrived = asyncio.Event()
        self._on_close = on_close

    def put(self, batch: Batch) -> None:
        """Have a batch wait; the oldest give way."""
        self._waiting.append(batch)
        self._count += len(batch.records)
        while self._count > MOST_WAITING and len(self._waiting) > 1:
            gone = self._waiting.popleft()
            self._count -= len(gone.records)
            self._missed += len(gone.records)
            following = self._waiting[0]
            added = Dictionaries()
            added.update(gone.added)
            added.details.clear()
            added.update(following.added)
            self._waiting[0] = Batch(following.records, added, following.floors)
        self._arrived.set()

    async def get(self) -> Delivery:
        """Return the next batch, once there is one."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        batch = self._waiting.popleft()
        self._count -= len(batch.records)
        missed, self._missed = self._missed, 0
        return Delivery(batch, missed)

    def close(self) -> None:
        """Want no more."""
        self._on_close(self)


class FlowFeed:
    """One node's flows."""

    def __init__(self, capacity: int) -> None:
        self.store = FlowStore(capacity)
        """The last of them."""
        self.changed = asyncio.Event()
        """Set when there are new ones; whoever waits for it clears it first."""
        self._subscribers: list[Subscription] = []

    def put(self, batch: Batch) -> None:
        """Take a batch."""
        self.store.append(batch)
        for subscriber in self._subscribers:
            subscriber.put(batch)
        self.changed.set()

    def subscribe(self, last: int = 0) -> Subscription:
        """Return a subscription that begins with all dictionaries and the last so many flows."""
        subscription = Subscription(self._subscribers.remove)
        snapshot, _ = self.store.snapshot(self.store.next_sequence - last if last else 1 << 62)
        subscription.put(snapshot)
        self._subscribers.append(subscription)
        return subscription
