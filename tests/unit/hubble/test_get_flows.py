"""GetFlows over a real channel: which flows, in which order, what is told of those gone."""

import asyncio
from types import SimpleNamespace
from typing import Any

from hubble_bed import NOW_NS, Seen, Serve, blank_flows

from cairn.flow.store import FlowStore


def test_the_last_flows_come_oldest_first(api: SimpleNamespace, serve: Serve) -> None:
    seen = Seen(FlowStore(1000))
    seen.put(blank_flows(50, source_port=range(50)))

    async def ask() -> list[Any]:
        async with serve(seen) as channel:
            request = api.observer.GetFlowsRequest(number=3)
            return [one async for one in api.Observer(channel).GetFlows(request)]

    found = asyncio.run(ask())
    assert [one.flow.l4.TCP.source_port for one in found] == [47, 48, 49]
    assert found[0].time.ToNanoseconds() == NOW_NS - 10**9 + 47_000
