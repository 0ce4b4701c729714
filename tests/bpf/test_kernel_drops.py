"""Packets that the kernel itself drops, by real traffic between namespaces."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trial
from kernel_drop_bed import (
    ELSEWHERE,
    IDENTITY,
    NODE,
    POD,
    POD6,
    STRANGER,
    VIP,
    KernelDropBed,
    bad_checksum,
    kernel_drop_bed,
)

from cairn.abi.event import EventFlag, EventKind, Point
from cairn.abi.structs import Endpoint
from cairn.abi.verdicts import Verdict
from cairn.libbpf import AttachType, Link, attach_tracepoint, load_object
from cairn.linux import namespace
from cairn.observe import kernel_reason

pytestmark = [pytest.mark.root, pytest.mark.bpf]

NFT = "nft add table inet t; nft 'add chain inet t c {{ type filter hook {hook} priority 0; }}'; "
DROP_ALL = NFT + "nft add rule inet t c udp dport 5353 drop"


@pytest.fixture
def bed() -> Iterator[KernelDropBed]:
    with kernel_drop_bed() as made:
        yield made


@pytest.mark.parametrize("address", [POD, POD6])
def test_a_port_that_nobody_listens_on(bed: KernelDropBed, address: str) -> None:
    bed.send(bed.node, address, 5353)
    (event,) = bed.told()
    assert (event.kind, event.point, event.verdict) == (
        EventKind.KERNEL_DROP,
        Point.KERNEL,
        Verdict.DROP_KERNEL,
    )
    assert bed.reason(event) == "NO_SOCKET"
    assert (str(event.destination), event.source_port) == (address, 4000)
    assert (event.destination_port, event.protocol) == (5353, socket.IPPROTO_UDP)
    assert event.flags & EventFlag.TO_POD
    assert (event.destination_identity, event.source_identity) == (IDENTITY, 0)
    assert event.ifindex == 0  # the interface is the pod's own, of which the node knows no name


def test_a_firewall_in_the_pod(bed: KernelDropBed) -> None:
    bed.run(bed.pod, DROP_ALL.format(hook="input"))
    bed.send(bed.node, POD, 5353)
    assert bed.reasons() == ["NETFILTER_DROP"]


def test_a_firewall_on_the_way_out_has_no_device_yet(bed: KernelDropBed) -> None:
    bed.run(bed.node, DROP_ALL.format(hook="output"))
    bed.send(bed.node, POD, 5353)
    (event,) = bed.told()
    assert bed.reason(event) == "NETFILTER_DROP"
    assert (str(event.source), str(event.destination)) == (NODE, POD)


def test_a_firewall_of_the_node_before_it_forwards(bed: KernelDropBed) -> None:
    bed.run(bed.node, "sysctl -qw net.ipv4.ip_forward=1")
    bed.run(bed.node, DROP_ALL.format(hook="prerouting"))
    bed.send(bed.pod, STRANGER, 5353)
    (event,) = bed.told()
    assert bed.reason(event) == "NETFILTER_DROP"
    assert event.flags & EventFlag.FROM_POD
    assert event.source_identity == IDENTITY
    assert event.ifindex == namespace.call_in(bed.node, socket.if_nametoindex, "host")


def test_a_source_that_the_route_back_contradicts(bed: KernelDropBed) -> None:
    bed.run(bed.pod, "sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.all.rp_filter=1")
    bed.run(bed.pod, f"ip route add {STRANGER} dev lo")
    bed.run(bed.node, f"ip addr add {STRANGER}/32 dev lo; ping -c 1 -W 2 {POD}")
    bed.send(bed.node, POD, 5353, source=STRANGER)
    assert bed.reasons() == ["IP_RPFILTER"]


def test_a_wrong_checksum(bed: KernelDropBed) -> None:
    bed.run(bed.pod, "ethtool -K eth0 rx off")
    with namespace.call_in(bed.pod, socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((POD, 5353))
        bed.send_raw(bed.node, bad_checksum(NODE, POD, 5353), POD)
        assert bed.reasons() == ["UDP_CSUM"]


def test_a_service_address_without_a_way(bed: KernelDropBed) -> None:
    bed.send(bed.pod, VIP, 80)
    (event,) = bed.told()
    assert bed.reason(event) in ("IP_INADDRERRORS", "IP_INNOROUTES")
    assert str(event.destination) == VIP


def test_a_way_that_leads_nowhere_is_told_though_the_kernel_says_no_why(bed: KernelDropBed) -> None:
    bed.run(bed.node, f"sysctl -qw net.ipv4.ip_forward=1; ip route add blackhole {VIP}")
    bed.send(bed.pod, VIP, 80)
    (event,) = bed.told()
    assert (bed.reason(event), str(event.source)) == ("NOT_SPECIFIED", POD)


def test_only_services_of_a_node_and_not_all_that_it_is_asked(bed: KernelDropBed) -> None:
    """The node's own address is known for its node ports."""
    bed.run(bed.pod, f"ip addr add {ELSEWHERE}/24 dev eth0")
    bed.send(bed.pod, NODE, 5353, source=ELSEWHERE)
    assert bed.marked() == []
    trial._publish(bed.maps, "0.0.0.0", 5353, 1, [], 0)
    bed.send(bed.pod, NODE, 5353, source=ELSEWHERE)
    assert bed.reasons() == ["NO_SOCKET"]


def test_strangers_are_not_told(bed: KernelDropBed) -> None:
    """The same addresses in another node's namespaces, and other addresses in ours."""
    bed.send(bed.foreign_node, POD, 5353)
    bed.send(bed.foreign_pod, VIP, 5353)
    bed.run(bed.pod, f"ip addr add {ELSEWHERE}/24 dev eth0")
    bed.send(bed.node, ELSEWHERE, 5353)
    assert bed.marked() == []


def test_a_conversation_in_good_health_is_not_told(bed: KernelDropBed) -> None:
    with (
        namespace.call_in(bed.pod, socket.create_server, (POD, 80)) as server,
        namespace.call_in(bed.node, socket.create_connection, (POD, 80)) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"question" * 1000)
            accepted.recv(1 << 16)
            accepted.sendall(b"answer" * 1000)
            client.recv(1 << 16)
    bed.run(bed.node, f"ping -c 1 -W 2 {POD}; ping -c 1 -W 2 {POD6}")
    assert bed.marked() == []


def test_what_a_program_drops_is_told_once(bed: KernelDropBed) -> None:
    """A pod's program drops what comes from an address not its own, and tells of it itself."""
    config = bytearray(64)
    config[48:50] = (1000).to_bytes(2, "little")
    objects = trial.OBJECTS / "pod_ingress.o"
    with load_object(objects, config={".rodata.config": bytes(config)}, reuse=bed.maps) as loaded:
        index = namespace.call_in(bed.node, socket.if_nametoindex, "host")
        bed.maps["endpoints"].update(
            trial.key_of(POD), Endpoint(index, trial.POD_MAC, trial.UPLINK, 0, 0).write()
        )
        link = namespace.call_in(
            bed.node, Link.create, loaded.programs["pod_ingress"], AttachType.TCX_INGRESS, index
        )
        with link:
            bed.send(bed.pod, VIP, 5353)
            events = bed.told()
    assert [(e.kind, e.verdict) for e in events if e.protocol == socket.IPPROTO_UDP] == [
        (EventKind.DROP, Verdict.DROP_SOURCE_MAC)
    ]


def test_a_flood_costs_events_no_more_than_the_budget() -> None:
    with kernel_drop_bed(drop_events=5, interval_ns=10**12) as bed:
        bed.send(bed.node, POD, 5353, times=50)
        events = bed.told(5)
        assert bed.counted() == 50  # a veth delivers before send returns, or soon after
        assert len(events) + len(bed.ring.drain()) <= 5 * (os.cpu_count() or 1)


def test_a_restarted_agent_leaves_one_program(bed: KernelDropBed) -> None:
    pin = Path("/sys/fs/bpf") / f"cairn-test-{bed.node}"
    pin.mkdir()
    try:
        for _ in range(3):
            attach_tracepoint(bed.program, pin / "kernel_drop").close()
        bed.send(bed.node, POD, 5353)
        bed.send(bed.node, POD, 9, sport=9999)
        ports = [event.source_port for event in bed.told(4)]
        assert ports == [4000, 4000, 9999, 9999]  # the bed's own, and one
    finally:
        for path in pin.iterdir():
            path.unlink()
        pin.rmdir()


def test_names_are_the_running_kernels(bed: KernelDropBed) -> None:
    assert {"NO_SOCKET", "NETFILTER_DROP", "NOT_SPECIFIED"} <= set(bed.names.values())
    table = kernel_reason.telling(bed.names)
    for number, name in bed.names.items():
        ordinary = any(name in names for names in kernel_reason.ORDINARY.values())
        assert bool(table[number]) != ordinary, name
