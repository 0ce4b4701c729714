"""A node's maps in a namespace, and the appliers that fill them, which can be restarted.

node()  ->  Node: apply frontends, read what the maps hold
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cairn.abi import structs
from cairn.apply.data_plane import DataPlane
from cairn.apply.load_balancer import LoadBalancer
from cairn.apply.peers import Peers
from cairn.apply.uplink import Uplink, find_uplink
from cairn.desired.load_balancer import Backend, Frontend, Kind
from cairn.kube.node import NodeFacts
from cairn.libbpf import Map
from cairn.linux import mount, namespace
from cairn.linux.system_call import Clone
from cairn.net import L4Address, Protocol, parse_address, parse_network


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


def keep_threads_in(netns: str) -> None:
    """Have the running loop's threads live in a namespace.

    What a reconciler leaves to them (routes, nftables) must not meet the machine's own.
    """
    where = str(namespace.netns_path(netns))
    workers = ThreadPoolExecutor(initializer=namespace.enter, initargs=(where, Clone.NEWNET))
    asyncio.get_running_loop().set_default_executor(workers)


@contextlib.contextmanager
def running_node() -> Iterator[Node]:
    """Yield a node with empty maps; they are gone afterwards."""
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
