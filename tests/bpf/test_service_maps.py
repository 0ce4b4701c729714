"""Frontends as they stand in the kernel's maps: written whole, kept through restarts, removed."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from maps_bed import Node, at, backend, facts, frontend, running_node

from cairn.abi import structs
from cairn.abi.structs import BackendFlag, ServiceFlag
from cairn.apply.load_balancer import LoadBalancer
from cairn.compile.maglev import SMALL_TABLE_BACKENDS, SMALL_TABLE_SIZE
from cairn.desired.load_balancer import Frontend, Kind
from cairn.libbpf import Map, MapShape, MapType
from cairn.net import parse_network

pytestmark = [pytest.mark.root, pytest.mark.bpf]


@pytest.fixture
def node() -> Iterator[Node]:
    with running_node() as made:
        yield made


VIP, CLUSTER_IP = at("192.168.1.100"), at("10.96.0.7")


def test_a_frontend_is_written_whole(node: Node) -> None:
    wanted = frontend(backend(1), backend(2), backend(3))
    assert node.balancer.apply({VIP: wanted, CLUSTER_IP: wanted}) == []
    service = node.service(VIP)
    assert service is not None
    assert (service.slots, service.local_slots) == (3, 1)
    assert node.slots(service.id) == ["10.244.1.2", "10.244.2.2", "10.244.3.2"]
    found = node.backends()
    assert {name: (b.flags, b.node) for name, b in found.items()} == {
        "10.244.1.2:8080": (BackendFlag.LOCAL, 0),
        "10.244.2.2:8080": (0, node.peers.index["node-2"]),
        "10.244.3.2:8080": (0, node.peers.index["node-3"]),
    }
    counts = np.bincount(node.table(service.id))
    assert counts.sum() == SMALL_TABLE_SIZE
    assert set(counts[counts > 0]) <= {SMALL_TABLE_SIZE // 3, SMALL_TABLE_SIZE // 3 + 1}


def test_draining_backends_stay_but_take_nothing_new(node: Node) -> None:
    node.balancer.apply({VIP: frontend(backend(1), backend(2))})
    node.balancer.apply({VIP: frontend(backend(1), backend(2, draining=True))})
    service = node.service(VIP)
    assert service is not None
    assert node.slots(service.id) == ["10.244.1.2"]
    assert node.backends()["10.244.2.2:8080"].flags == BackendFlag.TERMINATING
    assert len(set(node.table(service.id))) == 1


def test_a_node_whose_only_backend_drains_still_serves_what_is_handed_to_it(node: Node) -> None:
    node.balancer.apply({VIP: frontend(backend(1), backend(2))})
    node.balancer.apply({VIP: frontend(backend(1, draining=True), backend(2))})
    service = node.service(VIP)
    assert service is not None
    key = service.id.to_bytes(4, "little")
    named = node.maps["draining"].lookup(key)
    assert named is not None
    octets = node.maps["backends"].lookup(named)
    assert octets is not None
    assert str(structs.Backend.read(octets).address) == "10.244.1.2"
    node.balancer.apply({VIP: frontend(backend(2))})
    assert node.maps["draining"].lookup(key) is None


def test_policies_become_flags(node: Node) -> None:
    ranges = (parse_network("203.0.113.0/24"), parse_network("2001:db8::/32"))
    policies = Frontend(
        "default/web",
        Kind.LOAD_BALANCER,
        (backend(1),),
        local=True,
        socket_local=True,
        affinity_s=600,
        source_ranges=ranges,
    )
    node.balancer.apply({VIP: policies})
    service = node.service(VIP)
    assert service is not None
    assert service.affinity_s == 600
    assert service.flags == (
        ServiceFlag.LOCAL
        | ServiceFlag.SOCKET_LOCAL
        | ServiceFlag.AFFINITY
        | ServiceFlag.SOURCE_RANGES
        | ServiceFlag.SMALL_TABLE
    )
    assert node.ranges(service.id) == {(128 - 8 + 32, "203.0.113.0"), (32 + 32, "2001:db8::")}
    node.balancer.apply({VIP: frontend(backend(1))})
    assert node.ranges(service.id) == set()


def test_many_backends_share_the_large_table(node: Node) -> None:
    many = [backend(1, host) for host in range(1, SMALL_TABLE_BACKENDS + 2)]
    node.balancer.apply({VIP: frontend(*many)})
    service = node.service(VIP)
    assert service is not None
    assert not service.flags & ServiceFlag.SMALL_TABLE
    assert list(node.maps["maglev_small"].items()) == []
    node.balancer.apply({VIP: frontend(*many[:3])})
    service = node.service(VIP)
    assert service is not None
    assert service.flags & ServiceFlag.SMALL_TABLE
    assert len(set(node.table(service.id))) == 3
    assert list(node.maps["maglev"].items()) == []


def test_sockets_prefer_those_that_hints_name(node: Node) -> None:
    node.balancer.zone = "z1"
    near = replace(backend(2), for_zones=frozenset({"z1"}))
    far = replace(backend(3), for_zones=frozenset({"z2"}))
    node.balancer.apply({CLUSTER_IP: frontend(far, near, kind=Kind.CLUSTER_IP)})
    service = node.service(CLUSTER_IP)
    assert service is not None
    assert (service.slots, service.near_slots) == (2, 1)
    assert node.slots(service.id) == ["10.244.2.2", "10.244.3.2"]
    node.balancer.apply({CLUSTER_IP: frontend(far, backend(2), kind=Kind.CLUSTER_IP)})
    service = node.service(CLUSTER_IP)
    assert service is not None
    assert service.near_slots == 2, "one without a hint: hints do not count"


def test_ids_stay_through_changes_and_restarts(node: Node) -> None:
    node.balancer.apply({VIP: frontend(backend(1), backend(2))})
    before = node.service(VIP)
    table = node.table(before.id).tolist() if before else []
    node.restart()
    assert node.balancer.frontends == {VIP}
    node.balancer.apply({VIP: frontend(backend(1), backend(2))})
    after = node.service(VIP)
    assert after == before
    assert after is not None
    assert node.table(after.id).tolist() == table


def test_the_last_backend_gone_leaves_a_service_without_slots(node: Node) -> None:
    node.balancer.apply({VIP: frontend(backend(1))})
    node.balancer.apply({VIP: frontend()})
    service = node.service(VIP)
    assert service is not None
    assert service.slots == 0
    assert node.slots(service.id) == []
    assert node.backends() == {}


def test_removal_leaves_nothing(node: Node) -> None:
    wanted = frontend(backend(1), backend(2))
    node.balancer.apply({VIP: wanted, CLUSTER_IP: wanted})
    node.balancer.apply({VIP: None})
    assert node.service(VIP) is None
    assert len(node.backends()) == 2
    node.balancer.apply({CLUSTER_IP: None})
    for name in ("services", "service_slots", "backends", "maglev", "draining"):
        assert list(node.maps[name].items()) == [], name


def test_what_an_earlier_agent_left_is_pruned(node: Node) -> None:
    node.balancer.apply({VIP: frontend(backend(1)), CLUSTER_IP: frontend(backend(2))})
    node.restart()
    node.balancer.apply({VIP: frontend(backend(1))})
    node.balancer.apply(dict.fromkeys(node.balancer.frontends - {VIP}))
    node.balancer.prune_backends()
    assert node.service(CLUSTER_IP) is None
    assert set(node.backends()) == {"10.244.1.2:8080"}


def first_choices(node: Node) -> list[str]:
    service = node.service(VIP)
    assert service is not None
    addresses = {}
    for key, value in node.maps["backends"].items():
        addresses[int.from_bytes(key, "little")] = str(structs.Backend.read(value).address)
    return [addresses[number] for number in node.table(service.id)[:64].tolist()]


def test_tables_agree_between_nodes_in_terms_of_backends(node: Node) -> None:
    # Another history, another order: as on two nodes, whose ids differ.
    node.balancer.apply({at("10.96.0.9"): frontend(backend(3))})
    node.balancer.apply({VIP: frontend(backend(1), backend(2), backend(3))})
    first = first_choices(node)
    node.balancer.apply({VIP: None})
    node.balancer.apply({VIP: frontend(backend(3), backend(2), backend(1))})
    assert first_choices(node) == first


def test_a_peer_keeps_its_index_through_restarts(node: Node) -> None:
    before = dict(node.peers.index)
    node.restart()
    assert node.peers.index == before
    node.peers.apply([facts(3)])
    assert node.peers.index == {"node-3": before["node-3"]}
    assert len(list(node.maps["nodes"].items())) == 1
    assert len(list(node.maps["peers"].items())) == 2, "node-3 and the node itself"
    assert len(list(node.maps["pod_routes"].items())) == 1


def test_a_backend_outside_the_cluster_has_no_share_of_clients_outside(node: Node) -> None:
    outside = replace(backend(3), node="")
    node.balancer.apply({VIP: frontend(backend(2), outside)})
    service = node.service(VIP)
    assert service is not None
    assert set(node.slots(service.id)) == {"10.244.2.2", "10.244.3.2"}, "sockets reach both"
    assert set(first_choices(node)) == {"10.244.2.2"}
    node.balancer.apply({VIP: frontend(outside)})
    assert set(first_choices(node)) == {"10.244.3.2"}, "found, and dropped for that reason"


@pytest.mark.parametrize("name", ["services", "service_slots", "backends"])
def test_a_full_map_refuses_by_name_what_does_not_fit_and_keeps_the_rest(
    node: Node, name: str
) -> None:
    whole = node.maps[name]
    shape = whole.shape
    small = Map.create(MapShape(MapType.HASH, shape.key_bytes, shape.value_bytes, 1, 0), "small")
    node.maps[name] = small
    node.balancer = LoadBalancer(node.maps, "node-1", node.peers)
    first, second = {VIP: frontend(backend(1))}, {CLUSTER_IP: frontend(backend(2))}
    assert node.balancer.apply(first) == []
    before = dict(small.items())
    (failure,) = node.balancer.apply(second)
    assert failure.where == CLUSTER_IP
    assert failure.text
    assert dict(small.items()) == before, "what fitted stays as it was"
    assert node.service(CLUSTER_IP) is None
    assert node.balancer.apply({VIP: None}) == []
    assert node.balancer.apply(second) == [], "room again, tried again"
    assert node.service(CLUSTER_IP) is not None
    small.close()
    node.maps[name] = whole
