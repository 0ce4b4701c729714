"""Thousands of frontends together: as each alone, and nothing written that is right."""

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from maps_bed import Node, at, backend, frontend, running_node

from cairn.abi import structs
from cairn.abi.structs import ServiceFlag
from cairn.compile.maglev import SMALL_TABLE_BACKENDS
from cairn.desired.load_balancer import Backend, Frontend, Kind
from cairn.libbpf import Map, MapShape, MapType
from cairn.libbpf.syscall import Command, call
from cairn.net import L4Address

pytestmark = [pytest.mark.root, pytest.mark.bpf]

SERVICES = 150
VIP, CLUSTER_IP = at("192.168.1.100"), at("10.96.0.7")


@pytest.fixture
def node() -> Iterator[Node]:
    with running_node() as made:
        yield made


def many() -> dict[L4Address, Frontend | None]:
    """Return the frontends of many services: a load balancer and a cluster address each."""
    found: dict[L4Address, Frontend | None] = {}
    for number in range(SERVICES):
        hosts = [2 + (number * 17 + i) % 250 for i in range(number % 12)]
        backends = tuple(backend(1 + host % 3, host) for host in hosts)
        name = f"default/web-{number}"
        for base, kind in (("10.32.0.0", Kind.LOAD_BALANCER), ("10.96.1.0", Kind.CLUSTER_IP)):
            found[at(str(IPv4Address(base) + number))] = Frontend(name, kind, backends)
    return found


def held(node: Node, where: L4Address) -> tuple[list[int], list[str], list[str]]:
    """Return what the maps say of a frontend, without ids: numbers, slots, table."""
    service = node.service(where)
    assert service is not None
    names = {
        int.from_bytes(key, "little"): str(structs.Backend.read(value).address)
        for key, value in node.maps["backends"].items()
    }
    numbers = [service.flags, service.slots, service.local_slots, service.near_slots]
    if not service.slots or str(where.address).startswith("10.96."):
        return numbers, sorted(node.slots(service.id)), []  # sockets need no table
    return (
        numbers,
        sorted(node.slots(service.id)),
        [names[n] for n in node.table(service.id).tolist()],
    )


def contents(node: Node) -> dict[str, dict[bytes, bytes]]:
    """Return every entry of the service maps; tables by the kernel's number."""
    names = ("backends", "service_slots", "services", "maglev_small", "maglev", "table_digests")
    return {name: dict(node.maps[name].items()) for name in names}


def test_together_they_are_what_each_is_alone(node: Node) -> None:
    together, one_by_one = many(), many()
    assert node.balancer.apply(together) == []
    found = {where: held(node, where) for where in list(together)[::7]}
    with running_node() as other:
        for where, wanted in one_by_one.items():
            assert other.balancer.apply({where: wanted}) == []
        assert {where: held(other, where) for where in found} == found
    assert any(table for _, _, table in found.values())


def test_frontends_that_come_together_share_an_id_and_part_when_they_must(node: Node) -> None:
    shared = (backend(1), backend(2))
    both = {
        VIP: Frontend("default/web", Kind.LOAD_BALANCER, shared),
        CLUSTER_IP: Frontend("default/web", Kind.CLUSTER_IP, shared),
    }
    node.balancer.apply(both)
    before = node.service(VIP), node.service(CLUSTER_IP)
    assert before[0] is not None
    assert before[1] is not None
    assert before[0].id == before[1].id
    node.balancer.apply({CLUSTER_IP: frontend(backend(3), kind=Kind.CLUSTER_IP)})
    after = node.service(CLUSTER_IP)
    assert after is not None
    assert after.id != before[0].id
    assert node.service(VIP) == before[0]
    assert node.slots(before[0].id) == ["10.244.1.2", "10.244.2.2"]
    assert node.slots(after.id) == ["10.244.3.2"]


def test_ports_without_backends_never_share(node: Node) -> None:
    empty: tuple[Backend, ...] = ()
    places = [at("10.96.0.7", port) for port in (80, 443)]
    node.balancer.apply({p: Frontend("default/web", Kind.CLUSTER_IP, empty) for p in places})
    first, second = map(node.service, places)
    assert first is not None
    assert second is not None
    assert first.id != second.id


def test_a_new_agent_writes_nothing_that_is_right(node: Node) -> None:
    assert node.balancer.apply(many()) == []
    before = contents(node)
    node.restart()
    frozen = ["backends", "service_slots", "services", "maglev_small", "table_digests"]
    for name in frozen:
        freeze(node.maps[name])
    for number in before["maglev_small"].values():
        with Map.open_id(int.from_bytes(number, "little")) as inner:
            freeze(inner)
    # From here on the kernel refuses every write, right or wrong.
    assert node.balancer.apply(many()) == []
    assert contents(node) == before
    assert node.balancer.apply({VIP: frontend(backend(1))}) != []


def freeze(table: Map) -> None:
    """Let nobody but programs write the map from now on."""
    call(Command.MAP_FREEZE, table.fd.to_bytes(4, "little"), f"freeze {table.name}")


def test_a_changed_table_is_written_over(node: Node) -> None:
    node.balancer.apply({VIP: frontend(backend(1), backend(2))})
    service = node.service(VIP)
    assert service is not None
    key = service.id.to_bytes(4, "little")
    inner, table = node.maps["maglev_small"].lookup(key), node.table(service.id).tolist()
    node.balancer.apply({VIP: frontend(backend(1), backend(3))})
    assert node.maps["maglev_small"].lookup(key) == inner
    assert node.table(service.id).tolist() != table


def test_a_service_that_grows_gets_the_large_table_and_gives_back_the_small(node: Node) -> None:
    few = [backend(1 + n % 3, 2 + n) for n in range(SMALL_TABLE_BACKENDS)]
    node.balancer.apply({VIP: frontend(*few)})
    for backends, full, empty in (
        ([*few, backend(1, 200)], "maglev", "maglev_small"),
        (few, "maglev_small", "maglev"),
    ):
        node.balancer.apply({VIP: frontend(*backends)})
        service = node.service(VIP)
        assert service is not None
        assert bool(service.flags & ServiceFlag.SMALL_TABLE) == (full == "maglev_small")
        assert len(dict(node.maps[full].items())) == 1
        assert dict(node.maps[empty].items()) == {}


def test_what_the_kernel_refuses_is_named_and_the_rest_is_written(node: Node) -> None:
    whole = node.maps["service_slots"]
    node.maps["service_slots"] = Map.create(MapShape(MapType.HASH, 8, 4, 3, 0), "small")
    wanted: dict[L4Address, Frontend | None] = {
        VIP: frontend(backend(1), backend(2)),
        CLUSTER_IP: frontend(backend(3), backend(1, 9)),
    }
    failed = node.balancer.apply(wanted)
    assert [failure.where for failure in failed] == [CLUSTER_IP]
    assert str(failed[0]).startswith("frontend 10.96.0.7:80/TCP: map small: ")
    assert node.service(CLUSTER_IP) is None
    assert node.service(VIP) is not None
    node.maps["service_slots"].close()
    node.maps["service_slots"] = whole
    assert node.balancer.apply(wanted) == []
    service = node.service(CLUSTER_IP)
    assert service is not None
    assert len(node.slots(service.id)) == 2
    node.balancer.apply(dict.fromkeys(wanted))
    assert {name: entries for name, entries in contents(node).items() if entries} == {}


def test_a_digest_that_was_refused_is_written_with_the_next_table(node: Node) -> None:
    digests = node.maps["table_digests"]
    numbers = range(1 << 20, (1 << 20) + digests.shape.max_entries)
    strangers = b"".join(number.to_bytes(4, "little") for number in numbers)
    digests.update_batch(strangers, bytes(8) * len(numbers))
    assert node.balancer.apply({VIP: frontend(backend(1))}) == [], "the table itself is right"
    service = node.service(VIP)
    assert service is not None
    assert digests.lookup(service.id.to_bytes(4, "little")) is None
    digests.delete_batch(strangers)
    assert node.balancer.apply({at("192.168.1.101", 80): frontend(backend(2))}) == []
    assert len(dict(digests.items())) == 2
    before = contents(node)
    node.restart()
    assert node.balancer.apply({VIP: frontend(backend(1))}) == []
    assert contents(node) == before
