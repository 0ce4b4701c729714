"""Connections that policies judged, in a real map: who stays and who goes."""

from collections.abc import Iterator

import pytest

from cairn.abi.structs import FlowFlag, FlowKey, PolicyFlow
from cairn.apply.policy_flow_sweeper import PIECE, sweep_flows
from cairn.libbpf import Map, MapShape, MapType
from cairn.net import parse_address

pytestmark = pytest.mark.bpf

NS_PER_S = 1_000_000_000
NOW_NS = 100_000 * NS_PER_S
LOW, HIGH = parse_address("10.244.1.1"), parse_address("10.244.2.1")
TCP, UDP, ICMP, SCTP = 6, 17, 1, 132
NONE, ANSWERED = FlowFlag(0), FlowFlag.ANSWERED
CLOSING = ANSWERED | FlowFlag.CLOSING


@pytest.fixture
def table() -> Iterator[Map]:
    with Map.create(MapShape(MapType.LRU_HASH, 40, 72, 65536, 0), "policy_flows") as made:
        yield made


def put(table: Map, port: int, protocol: int, flags: int, silent_s: float, proxy: int = 0) -> None:
    seen_ns = NOW_NS - int(silent_s * NS_PER_S)
    key = FlowKey(LOW, HIGH, port, 80, protocol)
    flow = PolicyFlow(seen_ns - NS_PER_S, seen_ns, 1, 60, 0, 0, 1, 1, 0, 0, proxy, flags, 0)
    table.update(key.write(), flow.write())


def ports(table: Map) -> set[int]:
    return {FlowKey.read(key).low_port for key, _ in table.items()}


@pytest.mark.parametrize(
    ("protocol", "flags", "limit_s"),
    [
        (TCP, ANSWERED, 7440),
        (TCP, NONE, 150),
        (TCP, CLOSING, 60),
        (TCP, FlowFlag.CLOSING, 60),
        (UDP, ANSWERED, 120),
        (UDP, NONE, 120),
        (ICMP, NONE, 120),
        (SCTP, ANSWERED, 300),
    ],
)
def test_a_connection_goes_when_it_was_silent_for_its_limit(
    table: Map, protocol: int, flags: FlowFlag, limit_s: float
) -> None:
    put(table, 1, protocol, flags, limit_s - 1)
    put(table, 2, protocol, flags, limit_s + 1)
    done = sweep_flows(table, NOW_NS)
    assert ports(table) == {1}
    assert (done.entries, done.removed) == (1, 1)


def test_more_than_one_call_takes_and_those_with_a_proxy_are_counted(table: Map) -> None:
    for port in range(1, PIECE + 10):
        put(table, port, UDP, NONE, 500)
    put(table, 50000, UDP, NONE, 1, proxy=15001)
    done = sweep_flows(table, NOW_NS)
    assert ports(table) == {50000}
    assert (done.removed, done.proxied) == (PIECE + 9, 1)


def test_an_entry_that_its_program_has_only_begun_stays(table: Map) -> None:
    flow = PolicyFlow(NOW_NS, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    table.update(FlowKey(LOW, HIGH, 9, 80, TCP).write(), flow.write())
    sweep_flows(table, NOW_NS + NS_PER_S)
    assert ports(table) == {9}
