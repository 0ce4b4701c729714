"""`cairn trace`: whom names stand for, what a line says, what wrong usage comes to."""

import re
from typing import Any

import pytest

from cairn.cli.trace import main
from cairn.cli.trace_names import Asked, trace_rows
from cairn.cli.trace_show import compact
from cairn.diagnose.policy.world import World
from cairn.kube.metadata import Object
from cairn.net import parse_address
from cairn.observe.trace_filter import BadTrace, TraceRow
from cairn.observe.traced_packet import TracedPacket

HOSTS = {"client-1": (parse_address("192.168.50.10"), parse_address("fd00:50::10"))}


def pod(name: str, *addresses: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": addresses[0],
                   "podIPs": [{"ip": address} for address in addresses]},
    }  # fmt: skip


SERVICE: Object = {
    "apiVersion": "v1", "kind": "Service",
    "metadata": {"namespace": "default", "name": "web"},
    "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
             "selector": {"app": "web"},
             "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
                       {"name": "admin", "port": 81, "targetPort": 9090, "protocol": "TCP"}]},
    "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.100"}]}},
}  # fmt: skip
SLICE: Object = {
    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
    "metadata": {"namespace": "default", "name": "web-1",
                 "labels": {"kubernetes.io/service-name": "web"}},
    "ports": [{"name": "http", "port": 8080, "protocol": "TCP"},
              {"name": "admin", "port": 9090, "protocol": "TCP"}],
    "endpoints": [{"addresses": ["10.244.1.5"], "conditions": {"ready": True}}],
}  # fmt: skip
WORLD = World.of([SERVICE, SLICE, pod("web-1", "10.244.1.5", "fd00:10::5")])


def rows(source: str = "", destination: str = "", port: int = 0) -> set[TraceRow]:
    return set(trace_rows(WORLD, HOSTS, Asked(source, destination, port, 0)))


def test_a_service_is_its_addresses_and_its_pods_at_their_ports() -> None:
    assert rows("client-1", "web", 80) == {
        TraceRow("192.168.50.10/32", "10.96.0.7/32", 80),
        TraceRow("192.168.50.10/32", "192.0.2.100/32", 80),
        TraceRow("192.168.50.10/32", "10.244.1.5/32", 8080),
    }
    ports = {row.port for row in rows("client-1", "default/web")}
    assert ports == {0, 8080, 9090}


def test_ends_of_one_ip_version_are_paired() -> None:
    assert rows("client-1", "default/web-1") == {
        TraceRow("192.168.50.10/32", "10.244.1.5/32"),
        TraceRow("fd00:50::10/128", "fd00:10::5/128"),
    }


def test_addresses_networks_and_anybody() -> None:
    assert rows("10.0.0.0/8", "", 53) == {TraceRow("10.0.0.0/8", "", 53)}
    assert rows("", "10.0.0.1") == {TraceRow("", "10.0.0.1/32")}
    assert rows("10.0.0.1/8", "10.2.0.0/16") == {TraceRow("10.0.0.0/8", "10.2.0.0/16")}


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("10.0.0.1", "fd00::1", "no addresses of the same IP version"),
        ("default/wep", "", "near: default/web"),
        ("client-9", "web", "client-1"),
    ],
)
def test_whom_nobody_knows(source: str, destination: str, said: str) -> None:
    with pytest.raises(BadTrace, match=re.escape(said)):
        rows(source, destination)


def seen(verdict: str, source: str, destination: str, **more: Any) -> TracedPacket:
    return TracedPacket(
        1_500_000_000_000_123_456, "node-1", "uplink", verdict, source, destination, **more
    )


@pytest.mark.parametrize(
    ("packet", "end"),
    [
        (
            seen("TO_BACKEND", "10.0.0.7", "192.0.2.100", source_port=4000, destination_port=80,
                 destination_name="default/web", protocol=6, tcp_flags=2, length=74,
                 translated="10.244.1.5", translated_port=8080),
            "node-1 uplink  10.0.0.7:4000 > default/web (192.0.2.100:80) TCP SYN 74: "
            "TO_BACKEND, to 10.244.1.5:8080",
        ),
        (
            seen("REPLY", "fd00::5", "fd00::7", source_port=8080, destination_port=4000, protocol=6,
                 tcp_flags=0x12, translated="fd00::64", translated_port=80, answer=True),
            "[fd00::5]:8080 > [fd00::7]:4000 TCP SYN,ACK: REPLY, from [fd00::64]:80",
        ),
        (
            seen("DROP_KERNEL", "10.0.0.7", "10.0.0.8", protocol=1, icmp=(8, 0), dropped=True,
                 why="kernel: NETFILTER_DROP", not_told=7),
            "10.0.0.7 > 10.0.0.8 ICMPv4 type 8 code 0: DROP_KERNEL (kernel: NETFILTER_DROP) "
            "[7 before it not told]",
        ),
        (
            seen("PASS", "10.0.0.7", "10.0.0.8", protocol=47, why="left to the node's own stack"),
            "10.0.0.7 > 10.0.0.8 protocol 47: PASS",
        ),
    ],
)  # fmt: skip
def test_a_packet_is_one_line(packet: TracedPacket, end: str) -> None:
    line = compact(packet)
    assert line.endswith(end)
    assert re.match(r"\d\d:\d\d:\d\d\.000123 ", line)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "which packets?"),
        (["--port", "0"], "'0' is no port"),
        (["--port", "99999"], "'99999' is no port"),
        (["--protocol", "carrier"], "'carrier' is no protocol"),
        (["--to", "10.0.0.1", "--for", "soon"], "'soon' is no time"),
        (["--to", "10.0.0.1", "--for", "0s"], "lasts 1s to 1h"),
        (["--to", "10.0.0.1", "--count", "-1"], "'-1' is no number of lines"),
    ],
)
def test_wrong_usage(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1]
