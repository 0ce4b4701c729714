"""Frontends as they stand in the kernel's maps: written whole, kept through restarts, removed."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cairn.abi import structs
from cairn.abi.structs import BackendFlag, ServiceFlag
from cairn.apply.data_plane import DataPlane
from cairn.apply.load_balancer import LoadBalancer
from cairn.apply.peers import Peers
from cairn.apply.uplink import Uplink, find_uplink
from cairn.compile.maglev import SMALL_TABLE_BACKENDS, SMALL_TABLE_SIZE
from cairn.desired.load_balancer import Backend, Frontend, Kind
from cairn.kube.node import NodeFacts
from cairn.libbpf import Map
from cairn.linux import mount, namespace
from cairn.net import L4Address, Protocol, parse_address, parse_network

pytestmark = [pytest.mark.root, pytest.mark.bpf]


class Node:
    """A node's maps, and appliers that can be restarted."""

    def __init__(self, netns: str, pins: Path) -> None:
        self.netns = netns
        self.pins = pins
        self.uplink: Uplink = namespace.call_in(netns, find_uplink, parse_address("192.168.1.10"))
        self.restart()

    def restart(self) -> None:
        plane = namespace.call_in(self.netns, DataPlane.load, self.pins, self.uplink)
        self.maps: dict[str, Map] = plane.maps
        self.peers = Peers(plane.maps, self.uplink, "node-1")
        assert self.peers.apply([facts(2), facts(3)]) == []
        self.balancer = LoadBalancer(plane.maps, "node-1", self.peers)

    def service(self, where: L4Address) -> structs.Service | None:
        octets = self.maps["services"].lookup(
            structs.ServiceKey(where.address, where.port, where.protocol).write()
        )
        return structs.Service.read(octets) if octets else None

    def backends(self) -> dict[str, structs.Backend]:
        found = {}
        for _, value in self.maps["backends"].items():
            backend = structs.Backend.read(value)
            found[f"{backend.address}:{backend.port}"] = backend
        return found

    def slots(self, service: int) -> list[str]:
        by_slot = {}
        for key, value in self.maps["service_slots"].items():
            slot = structs.SlotKey.read(key)
            if slot.service == service:
                backend = self.maps["backends"].lookup(value)
                assert backend is not None
                by_slot[slot.slot] = str(structs.Backend.read(backend).address)
        return [by_slot[slot] for slot in sorted(by_slot)]

    def ranges(self, service: int) -> set[tuple[int, str]]:
        found = [structs.SourceRange.read(key) for key, _ in self.maps["source_ranges"].items()]
        return {(range_.bits, str(range_.address)) for range_ in found if range_.service == service}

    def table(self, service: int) -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
        key = service.to_bytes(4, "little")
        inner = self.maps["maglev_small"].lookup(key) or self.maps["maglev"].lookup(key)
        assert inner is not None
        with Map.open_id(int.from_bytes(inner, "little")) as table:
            octets = table.lookup(b"\0" * 4)
        assert octets is not None
        return np.frombuffer(octets, dtype=np.uint32)


def facts(number: int) -> NodeFacts:
    return NodeFacts(
        f"node-{number}",
        (parse_address(f"192.168.1.{9 + number}"),),
        (parse_network(f"10.244.{number}.0/24"),),
        f"02:00:00:00:00:{number:02x}",
    )


@pytest.fixture
def node() -> Iterator[Node]:
    name = f"ct-{os.getpid()}-{secrets.token_hex(3)}"
    mount.ensure_bpffs()
    pins = Path("/sys/fs/bpf") / name
    with namespace.temporary(name):
        for line in (
            "link add eth0 type veth peer name far",
            "addr add 192.168.1.10/24 dev eth0",
            "link set eth0 up",
            "link set far up",
        ):
            subprocess.run(["ip", "-n", name, *line.split()], check=True)
        try:
            yield Node(name, pins)
        finally:
            shutil.rmtree(pins, ignore_errors=True)


def at(address: str, port: int = 80) -> L4Address:
    return L4Address(parse_address(address), Protocol.TCP, port)


def backend(number: int, host: int = 2, *, draining: bool = False) -> Backend:
    return Backend(at(f"10.244.{number}.{host}", 8080), f"node-{number}", draining=draining)


def frontend(*backends: Backend, kind: Kind = Kind.LOAD_BALANCER) -> Frontend:
    return Frontend("default/web", kind, backends)


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
    assert len(list(node.maps["peers"].items())) == 1
    assert len(list(node.maps["pod_routes"].items())) == 1
