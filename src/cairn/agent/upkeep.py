"""What the agent does for its maps from time to time: sweep connections, watch how full maps are.

    maps, time  ->  entries deleted, Events on the Node, figures for agent.metrics

Cost        a run every PAUSE_S, more often while `conntrack` is filling or something could not be
            written, and never for more than 1/50 of the time
Not here    What has expired (observe.expiry), what a full map means (observe.map_fill).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cairn.apply.connection_sweeper import Swept, sweep
from cairn.apply.map_usage import MapUsage
from cairn.apply.policy_flow_sweeper import FlowsSwept, sweep_flows
from cairn.libbpf import BpfError, Map
from cairn.observe.closed_flows import Records
from cairn.observe.expiry import PRESSURE_FROM
from cairn.observe.map_fill import Fill, FillWatch, Notice

PAUSE_S = 15.0
HURRY_S = 3.0
"""Between runs while `conntrack` is filling, or something could not be written."""
RATIO = 50
"""A run of a second is followed by a pause of so many seconds at least."""
CONNTRACK = "conntrack"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SweepFigures:
    """What the sweeps came to."""

    last: Swept
    """The last run."""
    took_s: float
    """How long it took."""
    removed: int
    """Entries that all runs have removed."""


class Upkeep:
    """Looks after one node's maps."""

    def __init__(
        self,
        maps: Mapping[str, Map],
        tell: Callable[[Notice], None],
        refused: Callable[[], bool] = lambda: False,
    ) -> None:
        """`refused`: whether something could not be written: a map that is full may be why."""
        self._maps = maps
        self._tell = tell
        self._refused = refused
        self._was_refused = False
        self._busy_s = 0.0  # of a processor, not of a clock: a busy node is swept no less
        self._usage = MapUsage(maps, time.monotonic, elsewhere=(CONNTRACK,))
        self._watch = FillWatch()
        self._said = ""
        self.sweeps: SweepFigures | None = None
        """None until the first run."""
        self.on_closed: Callable[[Records], object] | None = None
        """Gets events of connections that went silent, not in the loop's thread."""
        self.flows: FlowsSwept | None = None
        """Connections that policies judged; likewise."""

    @property
    def fills(self) -> list[Fill]:
        """The last known use of every map, by name."""
        return [fill for _, fill in sorted(self._usage.fills.items())]

    async def run(self) -> None:
        """Look after the maps until cancelled."""
        while True:
            try:
                for notice in await asyncio.to_thread(self.once):
                    level = logging.WARNING if notice.warning else logging.INFO
                    log.log(level, "%s", notice.message)
                    self._tell(notice)
                self._said = ""
            except BpfError as error:
                if str(error) != self._said:
                    log.error("maps cannot be looked after: %s; trying again", error)
                self._said = str(error)
            await asyncio.sleep(max(self._pause_s(), RATIO * self._busy_s))

    def once(self) -> list[Notice]:
        """Sweep, count, and return what is to be told; raises BpfError."""
        began_s = time.thread_time()
        try:
            return self._once()
        finally:
            self._busy_s = time.thread_time() - began_s

    def _once(self) -> list[Notice]:
        start = time.monotonic()
        done = sweep(self._maps, time.monotonic_ns())
        self.flows = sweep_flows(self._maps["policy_flows"], time.monotonic_ns(), self.on_closed)
        took_s = time.monotonic() - start
        removed = self.sweeps.removed if self.sweeps else 0
        self.sweeps = SweepFigures(done, took_s, removed + done.removed)
        conntrack = Fill(CONNTRACK, done.entries, done.capacity)
        self._usage.fills[CONNTRACK] = conntrack
        refused, before = self._refused(), self._was_refused
        self._was_refused = refused
        fills = (conntrack, *self._usage.refresh(anew=refused or before))
        return [notice for fill in fills if (notice := self._watch.judge(fill))]

    def _pause_s(self) -> float:
        filling = self.sweeps is not None and (
            self.sweeps.last.entries >= PRESSURE_FROM * self.sweeps.last.capacity
        )
        return HURRY_S if filling or self._was_refused else PAUSE_S
