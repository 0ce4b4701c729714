"""What a node proves before it announces an address, with the real programs and maps."""

import asyncio
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from maps_bed import keep_threads_in

from cairn.abi import structs
from cairn.abi.address import write_address
from cairn.agent.cluster import Cluster
from cairn.agent.path_proof import PathProof
from cairn.agent.reconciler import Reconciler
from cairn.apply.data_plane import DataPlane
from cairn.apply.peers import Peers
from cairn.apply.uplink import find_uplink
from cairn.compile.announcements import Announced
from cairn.desired.load_balancer import Frontend
from cairn.drive.kube_client import Client
from cairn.drive.kubeconfig import Access
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.service import Service
from cairn.linux import mount, namespace
from cairn.net import L4Address, Protocol, parse_address

pytestmark = [pytest.mark.root, pytest.mark.bpf]

NODE, NODE6 = "192.168.1.10", "fd00:1::a"
VIPS = ("192.168.1.100", "fd00:100::64")
KEY = Key("default", "web")
PODS = {"10.244.1.1": "node-1", "fd00:244:1::1": "node-1"}
FAR = {f"10.244.2.{n}": "node-2" for n in range(1, 20)}


class Node:
    """A node's programs and maps, filled by the reconciler."""

    def __init__(self, netns: str, pins: Path) -> None:
        self.netns = netns
        addresses = (parse_address(NODE), parse_address(NODE6))
        uplink = namespace.call_in(netns, find_uplink, *addresses)
        self.plane = namespace.call_in(netns, DataPlane.load, pins, uplink)
        self.cluster = Cluster(Client(Access("http://127.0.0.1:1", None)), "node-1")
        self.announced: dict[Key, Announced] = {}
        self.reconciler = Reconciler(
            self.cluster, self.plane, uplink, "node-1", on_services=self._told
        )
        self.told = asyncio.Event()
        self.proof = PathProof(self.plane, uplink)
        self.cluster.nodes = {"node-1": facts("node-1", 10), "node-2": facts("node-2", 11)}
        Peers(self.plane.maps, uplink, "node-1").apply(self.cluster.nodes.values())
        for pod in PODS:
            self.wire(pod)

    def _told(self, announced: Mapping[Key, Announced], _: Collection[Key]) -> None:
        self.announced.update(announced)
        self.told.set()

    def wire(self, pod: str) -> None:
        value = structs.Endpoint(1, bytes(6), bytes(6), 0, 0).write()
        self.plane.maps["endpoints"].update(write_address(parse_address(pod)), value)

    async def serve(self, backends: dict[str, str], **spec: Any) -> None:
        """Have the Service served by these addresses, by node."""
        service = {
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {
                "type": "LoadBalancer",
                "ports": [
                    {"name": name.lower(), "port": 80, "protocol": name}
                    for name in ("TCP", "UDP", "SCTP")
                ],
                **spec,
            },
            "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in VIPS]}},
        }
        self.cluster.services[KEY] = Service.from_object(service)
        self.cluster.slices[KEY] = {
            Key("default", f"web-{family}"): EndpointSlice.from_object(
                slice_object(family, backends)
            )
            for family in ("IPv4", "IPv6")
        }
        self.cluster.dirty_services.add(KEY)
        self.cluster.changed.set()
        async with asyncio.timeout(10):
            await self.told.wait()

    def wrong(self, ip: str, protocol: Protocol = Protocol.TCP) -> str:
        """Return what the proof says of one frontend."""
        where, frontend = self.frontend(ip, protocol)
        return namespace.call_in(self.netns, self.proof.prove, where, frontend, frontend.active)

    def active(self) -> set[str]:
        """Return the addresses that take new connections to the first frontend, by the maps."""
        where = structs.ServiceKey(parse_address(VIPS[0]), 80, Protocol.TCP).write()
        service = structs.Service.read(self.plane.maps["services"].lookup(where) or b"")
        found = set()
        for slot in range(service.slots):
            number = self.plane.maps["service_slots"].lookup(
                structs.SlotKey(service.id, slot).write()
            )
            value = self.plane.maps["backends"].lookup(number or bytes(4))
            found.add(str(structs.Backend.read(value or b"").address))
        return found

    def frontend(self, ip: str, protocol: Protocol) -> tuple[L4Address, Frontend]:
        where = L4Address(parse_address(ip), protocol, 80)
        return where, self.announced[KEY].here[where]


def facts(name: str, number: int) -> NodeFacts:
    return NodeFacts(name, (parse_address(f"192.168.1.{number}"),), (), f"02:00:00:00:00:{number}")


def slice_object(family: str, backends: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "default",
            "name": f"web-{family}",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": family,
        "ports": [
            {"name": name.lower(), "port": 80, "protocol": name} for name in ("TCP", "UDP", "SCTP")
        ],
        "endpoints": [
            {"addresses": [ip], "nodeName": node, "conditions": {"ready": True}}
            for ip, node in backends.items()
            if (":" in ip) == (family == "IPv6")
        ],
    }


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    name = f"ct-{secrets.token_hex(4)}"
    mount.ensure_bpffs()
    pins = Path("/sys/fs/bpf") / name
    with namespace.temporary(name):
        keep_threads_in(name)
        for line in (
            "link set lo up",
            "link add eth0 type veth peer name far",
            f"addr add {NODE}/24 dev eth0",
            f"addr add {NODE6}/64 dev eth0 nodad",
        ):
            subprocess.run(["ip", "-n", name, *line.split()], check=True)
        made = Node(name, pins)
        task = asyncio.create_task(made.reconciler.run())
        try:
            yield made
        finally:
            task.cancel()
            shutil.rmtree(pins, ignore_errors=True)


@pytest.mark.parametrize("ip", VIPS)
@pytest.mark.parametrize("protocol", list(Protocol))
@pytest.mark.parametrize(
    ("backends", "spec"),
    [
        (PODS, {}),
        (PODS | FAR, {}),
        (PODS | FAR, {"externalTrafficPolicy": "Local"}),
        (PODS, {"sessionAffinity": "ClientIP"}),
        (PODS, {"loadBalancerSourceRanges": ["10.9.0.0/16", "2001:db9::/32"]}),
        (PODS, {"loadBalancerSourceRanges": ["192.0.2.0/24", "2001:db8::/32"]}),
        ({NODE: "node-1", NODE6: "node-1"}, {}),
    ],
)
async def test_a_path_that_works_is_proven_and_leaves_nothing_behind(
    node: Node, ip: str, protocol: Protocol, backends: dict[str, str], spec: dict[str, Any]
) -> None:
    await node.serve(backends, **spec)
    assert node.wrong(ip, protocol) == ""
    for name in ("conntrack", "affinity"):
        assert list(node.plane.maps[name].items()) == [], name


SHUT = structs.EndpointFlag.INGRESS | structs.EndpointFlag.EGRESS


def isolate(node: Node, flags: structs.EndpointFlag) -> None:
    """Have the pods isolated by a policy that lets nobody in."""
    node.plane.maps["policy_state"].update(bytes(4), structs.PolicyState(1, 0).write())
    for pod in PODS:
        key = write_address(parse_address(pod))
        entry = structs.Endpoint(1, bytes(6), bytes(6), flags, 300).write()
        node.plane.maps["endpoints"].update(key, entry)
    for direction in structs.PolicyDirection:
        key = structs.PolicyKey(300, 0, direction).write()
        denies = structs.PolicyPeer(0, 0, 7, 0, 0, structs.PolicyAction.DEFAULT_DENY, 0)
        node.plane.maps["policy_peers"].update(key, denies.write())


@pytest.mark.parametrize("ip", VIPS)
async def test_whom_a_policy_lets_in_does_not_matter(node: Node, ip: str) -> None:
    await node.serve(PODS)
    isolate(node, SHUT)
    assert node.wrong(ip) == ""
    assert list(node.plane.maps["policy_flows"].items()) == []


async def test_a_pod_whose_policy_is_not_in_force_is_not_reached(node: Node) -> None:
    await node.serve(PODS)
    isolate(node, SHUT | structs.EndpointFlag.CLOSED)
    assert "does not send a packet into a backend" in node.wrong(VIPS[0])


def unwire(node: Node) -> None:
    node.plane.maps["endpoints"].delete(write_address(parse_address("10.244.1.1")))


def lose_vip(node: Node) -> None:
    node.plane.maps["vips"].delete(write_address(parse_address(VIPS[0])))


def lose_service(node: Node) -> None:
    key = structs.ServiceKey(parse_address(VIPS[0]), 80, Protocol.TCP).write()
    node.plane.maps["services"].delete(key)


def lose_backends(node: Node) -> None:
    for key in [key for key, _ in node.plane.maps["backends"].items()]:
        node.plane.maps["backends"].delete(key)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (unwire, "10.244.1.1 is no pod that is wired to this node"),
        (lose_vip, f"{VIPS[0]} is not in the map vips"),
        (lose_service, f"{VIPS[0]}:80/TCP is not in the map services"),
        (lose_backends, "the program uplink_ingress does not send a packet into a backend"),
    ],
)
async def test_what_is_missing_on_the_way_is_named(
    node: Node, harm: Callable[[Node], None], words: str
) -> None:
    await node.serve(PODS)
    assert node.wrong(VIPS[0]) == ""
    harm(node)
    assert words in node.wrong(VIPS[0])


async def test_a_service_that_serves_nobody_of_a_family_needs_no_proof_there(node: Node) -> None:
    await node.serve(PODS, loadBalancerSourceRanges=["10.9.0.0/16"])
    assert [node.wrong(ip) for ip in VIPS] == ["", ""]


async def test_an_ejected_backend_is_left_out_and_taken_back(node: Node) -> None:
    two = PODS | {"10.244.1.2": "node-1", "10.244.2.1": "node-2"}
    node.wire("10.244.1.2")
    await node.serve(two)
    where = L4Address(parse_address("10.244.1.2"), Protocol.TCP, 80)

    async def until(*pods: str) -> None:
        async with asyncio.timeout(10):
            while True:
                if node.active() == set(pods):
                    return
                await asyncio.sleep(0.01)

    node.reconciler.set_ejected(frozenset({where}))
    await until("10.244.1.1", "10.244.2.1")
    other = L4Address(parse_address("10.244.2.1"), Protocol.TCP, 80)
    node.cluster.nodes["node-2"] = replace(
        node.cluster.nodes["node-2"], ejected=frozenset({other, where})
    )
    node.cluster.dirty_ejections = True
    node.cluster.changed.set()
    await until("10.244.1.1")
    node.reconciler.set_ejected(frozenset())
    await until("10.244.1.1", "10.244.1.2")
