"""Entries of `conntrack` in the kernel, made by hand and by packets, and swept."""

import time
from collections.abc import Iterator

import pytest
from connections import NS_PER_S, Flow, write_service
from trial import LOCAL_PORT, Trial, loaded, request

from cairn.abi.structs import State
from cairn.apply.connection_sweeper import PIECE, sweep
from cairn.libbpf import Map, MapShape, MapType
from cairn.net import Protocol
from cairn.observe.expiry import Phase

pytestmark = pytest.mark.bpf

ENTRIES = 4 * PIECE


@pytest.fixture
def maps() -> Iterator[dict[str, Map]]:
    shapes = {
        "conntrack": MapShape(MapType.HASH, 40, 64, ENTRIES, 0),
        "services": MapShape(MapType.HASH, 20, 32, 16, 1),
        "backends": MapShape(MapType.HASH, 4, 24, 16, 1),
    }
    made = {name: Map.create(shape, name) for name, shape in shapes.items()}
    write_service(made)
    yield made
    for table in made.values():
        table.close()


@pytest.fixture
def trial() -> Iterator[Trial]:
    with loaded() as node:
        yield node


def put(maps: dict[str, Map], *flows: Flow) -> None:
    entries = [entry for flow in flows for entry in flow.entries().items()]
    keys, values = zip(*entries, strict=True)
    maps["conntrack"].update_batch(b"".join(keys), b"".join(values))


def held(maps: dict[str, Map]) -> set[bytes]:
    return {key for key, _ in maps["conntrack"].items()}


def test_what_lives_stays(maps: dict[str, Map]) -> None:
    live = [
        Flow(1),
        Flow(2, Protocol.UDP, silent_s=9999, reverse_silent_s=1),
        Flow(3, forward=State.CLOSING, silent_s=100),
    ]
    dead = [
        Flow(4, silent_s=8000),
        Flow(5, Protocol.UDP, silent_s=200),
        Flow(6, forward=State.CLOSING, reverse=None, silent_s=40),
        Flow(7, service=9),
    ]
    put(maps, *live, *dead)
    done = sweep(maps, live[0].now_ns)
    assert held(maps) == {key for flow in live for key in flow.entries()}
    assert (done.entries, done.removed, done.capacity) == (6, 7, ENTRIES)
    assert done.connections[Phase.DATAGRAMS] == 2


def test_more_than_one_call_takes(maps: dict[str, Map]) -> None:
    flows = [Flow(port, silent_s=9000) for port in range(1, PIECE + 10)]
    put(maps, *flows, Flow(60000))
    assert sweep(maps, flows[0].now_ns).removed == 2 * len(flows)
    assert held(maps) == set(Flow(60000).entries())


def test_a_map_that_is_full_takes_connections_again(maps: dict[str, Map]) -> None:
    flows = [Flow(port, Protocol.UDP, silent_s=20) for port in range(1, ENTRIES // 2 + 1)]
    put(maps, *flows)
    done = sweep(maps, flows[0].now_ns)
    assert done.entries == 0, "at 20 s of silence nothing goes unless the map is full"
    assert done.removed == ENTRIES


def test_connections_that_packets_began(trial: Trial) -> None:
    """The programs' clock and the sweeper's are the same."""
    trial.run(request(LOCAL_PORT, source_port=40001))
    assert len(held(trial.maps)) == 2
    now_ns = time.monotonic_ns()
    assert sweep(trial.maps, now_ns).removed == 0
    assert sweep(trial.maps, now_ns + 50 * NS_PER_S).removed == 0
    assert sweep(trial.maps, now_ns + 70 * NS_PER_S).removed == 2
