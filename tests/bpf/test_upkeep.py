"""The agent's care for its maps: small ones fill, are told of, and are swept."""

import time
from collections.abc import Iterator

import pytest
from connections import NS_PER_S, Flow, write_service

from cairn.agent.upkeep import Upkeep
from cairn.apply.map_usage import COUNTED, SOON_S, MapUsage, count
from cairn.libbpf import Map, MapShape, MapType
from cairn.net import Protocol
from cairn.observe.map_fill import Notice

pytestmark = pytest.mark.bpf

SHAPES = {
    "conntrack": MapShape(MapType.HASH, 40, 64, 400, 0),
    "services": MapShape(MapType.HASH, 20, 32, 16, 1),
    "backends": MapShape(MapType.HASH, 4, 24, 16, 1),
    "affinity": MapShape(MapType.LRU_HASH, 4, 4, 16, 0),
    "denied": MapShape(MapType.LPM_TRIE, 20, 4, 16, 1),
    "metrics": MapShape(MapType.PERCPU_ARRAY, 4, 16, 16, 0),
    "policy_flows": MapShape(MapType.LRU_HASH, 40, 72, 64, 0),
}


@pytest.fixture
def maps() -> Iterator[dict[str, Map]]:
    made = {name: Map.create(shape, name) for name, shape in SHAPES.items()}
    write_service(made)
    yield made
    for table in made.values():
        table.close()


def put(maps: dict[str, Map], flow: Flow) -> None:
    for key, value in flow.entries().items():
        maps["conntrack"].update(key, value)


def flows(number: int, silent_s: float) -> list[Flow]:
    now_ns = time.monotonic_ns()
    age_s = now_ns / NS_PER_S
    return [
        Flow(port, Protocol.UDP, silent_s=silent_s, now_ns=now_ns, age_s=min(1000, age_s))
        for port in range(1, number + 1)
    ]


def test_a_filling_table_of_connections_is_told_of(maps: dict[str, Map]) -> None:
    upkeep = Upkeep(maps, lambda _: None)
    assert upkeep.once() == []
    for flow in flows(155, silent_s=0):
        put(maps, flow)
    (notice,) = upkeep.once()
    assert isinstance(notice, Notice)
    assert "map conntrack holds 310 of 400" in notice.message
    assert upkeep.once() == []


def test_what_fell_silent_makes_room(maps: dict[str, Map]) -> None:
    upkeep = Upkeep(maps, lambda _: None)
    for flow in flows(155, silent_s=0):
        put(maps, flow)
    upkeep.once()
    for flow in flows(155, silent_s=130):
        put(maps, flow)
    (notice,) = upkeep.once()
    assert notice.reason == "MapFillCleared"
    assert upkeep.sweeps is not None
    assert (upkeep.sweeps.removed, upkeep.sweeps.last.entries) == (310, 0)


def test_every_bounded_map_is_counted(maps: dict[str, Map]) -> None:
    for number in range(1, 4):
        maps["denied"].update((128).to_bytes(4, "little") + bytes([number]) * 16, bytes(4))
    upkeep = Upkeep(maps, lambda _: None)
    upkeep.once()
    found = {fill.name: (fill.entries, fill.capacity, fill.evicts) for fill in upkeep.fills}
    assert found == {
        "affinity": (0, 16, True),
        "backends": (1, 16, False),
        "conntrack": (0, 400, False),
        "denied": (3, 16, False),
        "policy_flows": (0, 64, True),
        "services": (1, 16, False),
    }
    assert MapType.PERCPU_ARRAY not in COUNTED


def test_a_map_far_from_full_is_counted_seldom(maps: dict[str, Map]) -> None:
    now = [100.0]
    usage = MapUsage({"backends": maps["backends"]}, lambda: now[0])
    assert [fill.entries for fill in usage.refresh()] == [1]
    now[0] += 2 * SOON_S
    assert usage.refresh() == []
    for number in range(2, 14):
        maps["backends"].update(number.to_bytes(4, "little"), bytes(24))
    now[0] += 3 * SOON_S
    assert [fill.entries for fill in usage.refresh()] == [13]
    now[0] += SOON_S + 1
    assert [fill.entries for fill in usage.refresh()] == [13], "while it fills, often"


def test_a_write_that_was_refused_has_all_maps_counted(maps: dict[str, Map]) -> None:
    refused = [False]
    upkeep = Upkeep(maps, lambda _: None, lambda: refused[0])

    def backends() -> int:
        upkeep.once()
        return next(fill.entries for fill in upkeep.fills if fill.name == "backends")

    def put_backends(first: int) -> None:
        for number in range(first, first + 4):
            maps["backends"].update(number.to_bytes(4, "little"), bytes(24))

    assert backends() == 1
    put_backends(2)
    assert backends() == 1, "not yet"
    refused[0] = True
    assert backends() == 5
    refused[0] = False
    put_backends(6)
    assert backends() == 9, "how it is afterwards"
    put_backends(10)
    assert backends() == 9


def test_more_entries_than_one_batch_brings() -> None:
    with Map.create(MapShape(MapType.HASH, 4, 4, 9000, 1), "many") as many:
        keys = b"".join(number.to_bytes(4, "little") for number in range(5000))
        many.update_batch(keys, keys)
        assert count(many) == 5000
