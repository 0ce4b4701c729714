"""What the agent does for its maps from time to time: sweep connections, watch how full maps are.

    maps, time  ->  entries deleted, Events on the Node, figures for agent.metrics

Cost        a run every PAUSE_S, more often while `conntrack` is filling, and never for more than
            1/50 of the time
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
"""Between runs while `conntrack` is filling."""
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

    def __init__(self, maps: Mapping[str, Map], tell: Callable[[Notice], None]) -> None:
        self._maps = maps
        self._tell = tell
        self._usage = MapUsage(maps, time.monotonic, elsewhere=(CONNTRACK,))
        self._watch = FillWatch()
        self._said = ""
        self.sweeps: SweepFigures | None = None
        """None until the first run."""
        self.on_closed: Callable[[Records], None] | None = None
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
            start = time.monotonic()
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
            await asyncio.sleep(max(self._pause_s(), RATIO * (time.monotonic() - start)))

    def once(self) -> list[Notice]:
        """Sweep, count, and return what is to be told; raises BpfError."""
        start = time.monotonic()
        done = sweep(self._maps, time.monotonic_ns())
        self.flows = sweep_flows(self._maps["policy_flows"], time.monotonic_ns(), self.on_closed)
        took_s = time.monotonic() - start
        before = self.sweeps.removed if self.sweeps else 0
        self.sweeps = SweepFigures(done, took_s, before + done.removed)
        conntrack = Fill(CONNTRACK, done.entries, done.capacity)
        self._usage.fills[CONNTRACK] = conntrack
        fills = (conntrack, *self._usage.refresh())
        return [notice for fill in fills if (notice := self._watch.judge(fill))]

    def _pause_s(self) -> float:
        filling = self.sweeps is not None and (
            self.sweeps.last.entries >= PRESSURE_FROM * self.sweeps.last.capacity
        )
        return HURRY_S if filling else PAUSE_S
