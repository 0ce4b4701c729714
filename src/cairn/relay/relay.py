"""The relay's middle: what every node sends becomes one store, and the history.

Batch of a node  ->  our keys  ->  by time  ->  FlowStore, History

Invariants  Every flow that came is in the store, once, and in the history once, over restarts too:
            nodes are read on from where the history has them. What did not come is a flow of kind
            LOST, or of a node that `states` tells is not connected.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from cairn.flow.columns import Batch, Dictionaries
from cairn.flow.renumbering import Numberings, Renumbering
from cairn.flow.store import FlowStore
from cairn.hubble.tls import ClientFiles
from cairn.relay.history.keeper import History
from cairn.relay.merge import Merger, Taken
from cairn.relay.position import Position, Positions
from cairn.relay.source import BEGIN, Source, State, lost

log = logging.getLogger(__name__)
TAKE_EVERY_S = 0.1


class Relay:
    """Follows all nodes; `on_node` and `on_gone` come from whoever knows which there are."""

    def __init__(
        self,
        store: FlowStore,
        history: History | None,
        *,
        on_grown: Callable[[], None],
        on_state: Callable[[State], None] = lambda _state: None,
        agents: ClientFiles | None = None,
    ) -> None:
        self.store = store
        self._history = history
        self._on_grown = on_grown
        self._on_state = on_state
        self.agents = agents
        """By which files agents are asked by TLS; None: without."""
        self._numberings = Numberings()
        self._merger = Merger()
        self._positions: Positions = dict(history.positions) if history is not None else {}
        self._sources: dict[str, tuple[Source, asyncio.Task[None]]] = {}

    @property
    def states(self) -> list[State]:
        """How it stands with each node, by name."""
        return [source.state for _, (source, _) in sorted(self._sources.items())]

    def on_node(self, name: str, target: str) -> None:
        """Follow a node, at its new address if it has one."""
        known = self._sources.get(name)
        if known is not None and known[0].state.target == target:
            return
        self.on_gone(name)
        renumbering = Renumbering(self._numberings)

        def on_batch(batch: Batch, end: Position) -> None:
            self._positions[name] = end
            self._merger.add(name, renumbering.batch(batch), end, time.monotonic())

        source = Source(
            name,
            target,
            on_batch=on_batch,
            on_missed=lambda count: self._missed(name, count),
            on_state=self._on_state,
            files=self.agents,
            begin=self._positions.get(name, BEGIN),
        )
        self._sources[name] = (source, asyncio.create_task(source.run()))

    def on_gone(self, name: str) -> None:
        """Follow a node no more."""
        if known := self._sources.pop(name, None):
            known[1].cancel()

    async def run(self) -> None:
        """Put flows in order and into the store, until cancelled."""
        try:
            while True:
                await asyncio.sleep(TAKE_EVERY_S)
                taken = self._merger.take(time.monotonic(), time.time_ns())
                if taken is not None:
                    self._take(taken)
        finally:
            for name in list(self._sources):
                self.on_gone(name)

    def _take(self, taken: Taken) -> None:
        self.store.append(taken.batch)
        if self._history is not None:
            known = self.store.dictionaries
            self._history.add(taken.batch.records, known, taken.positions)
        self._on_grown()

    def _missed(self, name: str, count: int) -> None:
        log.warning("node %s: %d flows were gone before they were read", name, count)
        once = Renumbering(self._numberings)
        told = once.batch(Batch(lost(count), Dictionaries(nodes={1: name})))
        # What was missed is no flow of the node's store: it has no position there.
        self._merger.add("", told, BEGIN, time.monotonic())
