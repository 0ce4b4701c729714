"""The relay's middle against real gRPC servers of nodes: order, renumbering, breaks, answers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_flows import dictionaries, flows

from cairn.api.pki import ensure_pki
from cairn.flow.columns import FLOW, Batch, Dictionaries, End, FlowKind
from cairn.flow.store import FlowStore
from cairn.hubble.columns_service import columns_handler
from cairn.relay.history.jobs import Rows
from cairn.relay.history.keeper import History
from cairn.relay.history.question import Question
from cairn.relay.history.state import Rules
from cairn.relay.history_client import Keys, NoHistory, ask, ask_status
from cairn.relay.history_service import history_handler
from cairn.relay.main import Tls, bind
from cairn.relay.merge import Merger
from cairn.relay.position import Position
from cairn.relay.relay import Relay


class Delivery(NamedTuple):
    batch: Batch
    missed: int = 0


class Subscription:
    """Batches from a queue without bound: a test's."""

    def __init__(self, first: Batch) -> None:
        self.queue: asyncio.Queue[Batch] = asyncio.Queue()
        self.queue.put_nowait(first)

    async def get(self) -> Delivery:
        return Delivery(await self.queue.get())

    def close(self) -> None:
        pass


class NodeFeed:
    """A store, and whoever follows it."""

    def __init__(self, capacity: int) -> None:
        self.store = FlowStore(capacity)
        self.subscriptions: list[Subscription] = []

    def subscribe(self, last: int = 0) -> Subscription:
        first, _ = self.store.snapshot(self.store.next_sequence - last)
        self.subscriptions.append(Subscription(first))
        return self.subscriptions[-1]

    def put(self, made: Batch) -> None:
        self.store.append(made)
        for subscription in self.subscriptions:
            subscription.queue.put_nowait(made)


class Node:
    """An agent's side: a store, and a server that can be stopped and started."""

    def __init__(self, name: str, capacity: int = 10_000) -> None:
        self.name = name
        self.boot = 0
        self.port = 0
        self.capacity = capacity
        self.restart()

    def restart(self) -> None:
        self.boot += 1
        self.feed = NodeFeed(self.capacity)
        self.added = 0

    def see(self, count: int, *, start_ns: int) -> None:
        """Have flows that name pods by keys of this node's own."""
        offset = 100 * int(self.name[-1])
        known = dictionaries()
        made = flows(count, start=self.added, start_ns=start_ns, step_ns=1000)
        self.added += count
        for side in ("source_end", "destination_end"):
            made[side] += offset
        made["node"] = 1
        ends = {key + offset: end for key, end in known.ends.items()}
        added = Dictionaries(ends, known.decisions, known.details, {1: self.name})
        self.feed.put(Batch(made, added))

    async def serve(self) -> None:
        self.server = grpc.aio.server()
        handler = columns_handler(self.feed, f"{self.name}-{self.boot}")
        self.server.add_generic_rpc_handlers((handler,))
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.server.start()

    @property
    def target(self) -> str:
        return f"ipv4:127.0.0.1:{self.port}"


async def until(condition: Any, within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def following(*nodes: Node, history: History | None = None) -> AsyncIterator[Relay]:
    relay = Relay(FlowStore(100_000), history, on_grown=lambda: None)
    task = asyncio.create_task(relay.run())
    for node in nodes:
        await node.serve()
        relay.on_node(node.name, node.target)
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for node in nodes:
            await node.server.stop(0)


async def test_flows_of_all_nodes_are_joined_and_named_as_on_their_node() -> None:
    nodes = [Node("node-1"), Node("node-2"), Node("node-3")]
    async with following(*nodes) as relay:
        now = time.time_ns()
        for node in nodes:
            node.see(500, start_ns=now)
        await until(lambda: relay.store.seen == 1500)
        known = relay.store.dictionaries
        seen = np.concatenate(relay.store.records)
        assert {known.nodes[key] for key in set(seen["node"].tolist())} == {n.name for n in nodes}
        original = dictionaries().ends
        for record in seen[:200]:
            # The address ends in the number that the pod had on its node.
            number = int(bytes(record["source"])[-1])
            assert known.ends[int(record["source_end"])] == original[number]
        assert all(state.connected for state in relay.states)


async def test_a_node_that_goes_is_named_and_comes_back_without_loss_or_double() -> None:
    node, other = Node("node-1"), Node("node-2")
    async with following(node, other) as relay:
        node.see(300, start_ns=time.time_ns())
        await until(lambda: relay.store.seen == 300)
        await node.server.stop(0)
        await until(lambda: not relay.states[0].connected)
        assert relay.states[0].error
        assert relay.states[1].connected
        node.see(200, start_ns=time.time_ns())
        await node.serve()
        await until(lambda: relay.store.seen == 500)
        sources = np.concatenate(relay.store.records)["source_port"]
        assert sorted(sources.tolist()) == sorted(30000 + n for n in range(500))


async def test_what_a_node_has_no_more_is_told_as_lost() -> None:
    node = Node("node-1", capacity=100)
    async with following(node) as relay:
        node.see(50, start_ns=time.time_ns())
        await until(lambda: relay.store.seen == 50)
        await node.server.stop(0)
        await until(lambda: not relay.states[0].connected)
        node.see(130, start_ns=time.time_ns())
        await node.serve()
        await until(lambda: relay.store.seen == 151)
        seen = np.concatenate(relay.store.records)
        told = seen[seen["kind"] == FlowKind.LOST]
        assert told["packets"].tolist() == [30]
        assert relay.store.dictionaries.nodes[int(told["node"][0])] == "node-1"


async def test_an_agent_that_was_restarted_is_read_from_its_start() -> None:
    node = Node("node-1")
    async with following(node) as relay:
        node.see(50, start_ns=time.time_ns())
        await until(lambda: relay.store.seen == 50)
        await node.server.stop(0)
        node.restart()
        node.see(20, start_ns=time.time_ns())
        await node.serve()
        await until(lambda: relay.store.seen == 70)
        assert relay.states[0].missed == 0


async def test_the_history_answers_over_grpc(tmp_path: Path) -> None:
    history = History(tmp_path, Rules(reserve_bytes=0))
    await history.open()
    keeping = asyncio.create_task(history.run())
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((history_handler(history),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    node = Node("node-1")
    try:
        async with following(node, history=history) as relay:
            node.see(100, start_ns=time.time_ns())
            await until(lambda: relay.store.seen == 100)
            where, keys = f"127.0.0.1:{port}", Keys()
            answer = await asyncio.to_thread(ask, where, Question(top="drops", picture=True), keys)
            assert sum(row[answer.columns.index("drops")] for row in answer.rows) == 10
            assert answer.picture
            assert sum(answer.picture.flows) == 100
            status = (await asyncio.to_thread(ask_status, where, keys)).status
            assert status
            assert status.flows == 100
            wrong = await asyncio.to_thread(ask, where, Question(sql="DROP VIEW flows"), keys)
            assert wrong.wrong_question
    finally:
        await server.stop(0)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await history.close()
    with pytest.raises(NoHistory, match="no relay answers"):
        await asyncio.to_thread(ask_status, where, keys)


async def test_tls_asks_clients_who_they_are(tmp_path: Path) -> None:
    history = History(tmp_path / "history", Rules(reserve_bytes=0))
    await history.open()
    pki = ensure_pki(tmp_path / "pki", sans=["localhost"])
    names = {}
    for name, pair in (
        ("server", pki.issue_server("relay", ["localhost"])),
        ("client", pki.issue_client("someone")),
    ):
        for kind, octets in zip(("cert", "key"), pair, strict=True):
            names[f"{name}-{kind}"] = str(tmp_path / f"{name}-{kind}")
            Path(names[f"{name}-{kind}"]).write_bytes(octets)
    authority = str(pki.ca_cert)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((history_handler(history),))
    tls = Tls(names["server-cert"], names["server-key"], authority, "")
    where = f"localhost:{bind(server, 'localhost:0', tls)}"
    await server.start()
    try:
        known = Keys(authority, names["client-cert"], names["client-key"])
        assert (await asyncio.to_thread(ask_status, where, known)).status
        for keys in (Keys(authority), Keys()):
            with pytest.raises(NoHistory):
                await asyncio.to_thread(ask_status, where, keys)
    finally:
        await server.stop(0)
        await history.close()


def batch(times: list[int], end: int) -> Batch:
    records = np.zeros(len(times), FLOW)
    records["time_ns"] = sorted(times)
    records["source_end"] = end
    return Batch(records, Dictionaries(ends={end: End(pod=f"p{end}")}))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2000),
            st.lists(st.integers(-3_000, 3_000), max_size=5),
        ),
        max_size=30,
    )
)
def test_merging_loses_nothing_doubles_nothing_and_is_in_order_each_time(
    arrivals: list[tuple[int, list[int]]],
) -> None:
    """Times in milliseconds: when a batch comes, and how far its flows' clocks are from then."""
    merger = Merger(0.3)
    put: list[int] = []
    got: list[int] = []
    known = Dictionaries()
    base = 10**12
    for end, (now_ms, offsets) in enumerate(sorted(arrivals), 1):
        times = [base + (now_ms + offset) * 1_000_000 for offset in offsets]
        merger.add(f"node-{end % 3}", batch(times, end), Position("s", end), now_ms / 1000)
        put += times
        taken = merger.take(now_ms / 1000, base + now_ms * 1_000_000)
        if taken is not None:
            known.update(taken.batch.added)
            stamps = taken.batch.records["time_ns"].tolist()
            assert stamps == sorted(stamps)
            assert set(taken.batch.records["source_end"].tolist()) <= set(known.ends)
            got += stamps
    rest = merger.take(1e9, base)
    got += rest.batch.records["time_ns"].tolist() if rest is not None else []
    assert sorted(put) == sorted(got)


def test_flows_of_two_nodes_that_come_within_the_window_leave_in_order() -> None:
    merger = Merger(0.3)
    now_ns = 10**12
    merger.add("node-1", batch([now_ns - 50_000_000], 1), Position("a", 7), 0.0)
    merger.add("node-2", batch([now_ns - 90_000_000], 2), Position("b", 9), 0.1)
    assert merger.take(0.1, now_ns) is None
    taken = merger.take(0.4, now_ns + 300_000_000)
    assert taken is not None
    assert taken.batch.records["source_end"].tolist() == [2, 1]
    assert taken.positions == {"node-1": Position("a", 7), "node-2": Position("b", 9)}


def test_the_position_is_that_of_what_has_left() -> None:
    merger = Merger(0.3)
    now_ns = 10**12
    merger.add("n", batch([now_ns - 10**9, now_ns - 10**6], 1), Position("a", 12), 0.0)
    merger.add("n", batch([now_ns - 10**9], 2), Position("a", 13), 0.0)
    taken = merger.take(0.1, now_ns)
    assert taken is not None
    assert taken.batch.records["source_end"].tolist() == [1]
    assert taken.positions == {"n": Position("a", 11)}
    taken = merger.take(0.3, now_ns)
    assert taken is not None
    assert taken.positions == {"n": Position("a", 13)}


async def test_a_restarted_relay_keeps_no_flow_twice(tmp_path: Path) -> None:
    node = Node("node-1")
    await node.serve()
    for made in (100, 50, 0):
        history = History(tmp_path, Rules(keep_days=9999, reserve_bytes=0, segment_s=0.2))
        await history.open()
        keeping = asyncio.create_task(history.run())
        relay = Relay(FlowStore(1000), history, on_grown=lambda: None)
        following = asyncio.create_task(relay.run())
        relay.on_node(node.name, node.target)
        try:
            node.see(made, start_ns=time.time_ns())
            await until(lambda made=made, relay=relay: relay.store.seen >= made)
            await asyncio.wait_for(_counted(history, node.feed.store.seen), 20)
        finally:
            for task in (following, keeping):
                task.cancel()
            await asyncio.gather(following, keeping, return_exceptions=True)
    await node.server.stop(0)


async def _counted(history: History, wanted: int) -> None:
    """Wait for so many flows; more would never be fewer again."""
    question = Question(sql="SELECT count(*), count(DISTINCT source_port) FROM flows")
    while True:
        rows = [r.rows async for r in history.ask(question) if isinstance(r, Rows)]
        if rows and list(rows[0][0]) == [wanted, wanted]:
            return
        assert not rows or rows[0][0][0] <= wanted, rows
        await asyncio.sleep(0.05)
