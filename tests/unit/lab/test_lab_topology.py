"""The lab's network as data: the document's addresses, and nothing twice."""

import ipaddress

import pytest

from cairn.lab.topology import (
    MAX_NODES,
    Role,
    home_network,
    hosts_file,
    node_addresses,
    node_host,
    pod_networks,
    resolver_file,
)

EXPECTED = {
    "router": ("192.168.1.1", "fd00:1::1"),
    "control-plane": ("192.168.1.5", "fd00:1::5"),
    "node-1": ("192.168.1.10", "fd00:1::a"),
    "node-2": ("192.168.1.11", "fd00:1::b"),
    "node-3": ("192.168.1.12", "fd00:1::c"),
    "client-1": ("192.168.50.10", "fd00:50::a"),
    "client-2": ("192.168.1.50", "fd00:1::32"),
}


def test_reference_network_has_the_documents_addresses() -> None:
    hosts = home_network().hosts
    assert {host.name: host.addresses for host in hosts} == EXPECTED
    assert {host.name: host.gateways for host in hosts} == {
        **dict.fromkeys(EXPECTED, EXPECTED["router"]),
        "router": (),
        "client-1": ("192.168.50.1", "fd00:50::1"),
    }


def test_router_stands_in_every_segment() -> None:
    router = home_network().host("router")
    addresses = [i.addresses for i in router.interfaces]
    assert addresses == [
        ("192.168.1.1/24", "fd00:1::1/64"),
        ("192.168.50.1/24", "fd00:50::1/64"),
        ("192.168.2.1/24", "fd00:2::1/64"),
    ]
    assert [i.bridge for i in router.interfaces] == ["br-nodes", "br-lan", "br-far"]


def test_far_nodes_stand_on_the_second_subnet() -> None:
    node = home_network((1, 2, 3, 4), far=(4,)).host("node-4")
    assert node == node_host(4, far=True)
    assert node.addresses == ("192.168.2.13", "fd00:2::d") == node_addresses(4, far=True)
    assert node.gateways == ("192.168.2.1", "fd00:2::1")


@pytest.mark.parametrize("count", range(1, MAX_NODES + 1))
def test_nothing_is_given_twice(count: int) -> None:
    topology = home_network(range(1, count + 1))
    interfaces = [i for host in topology.hosts for i in host.interfaces]
    for values in (
        [i.port for i in interfaces],
        [i.mac for i in interfaces],
        [a for i in interfaces for a in i.addresses],
        [host.name for host in topology.hosts],
    ):
        assert len(values) == len(set(values))
    assert sum(host.role is Role.NODE for host in topology.hosts) == count


@pytest.mark.parametrize("count", range(1, MAX_NODES + 1))
def test_addresses_lie_in_their_segment_and_names_fit_the_kernel(count: int) -> None:
    topology = home_network(range(1, count + 1))
    networks = {s.bridge: set(map(ipaddress.ip_network, s.networks)) for s in topology.segments}
    for host in topology.hosts:
        for interface in host.interfaces:
            assert len(interface.port) <= 15
            first_octet = int(interface.mac.split(":")[0], 16)
            assert first_octet & 3 == 2, "a local address of one machine"
            for address in interface.addresses:
                found = ipaddress.ip_interface(address)
                assert found.network in networks[interface.bridge]
                if host.gateways and interface is host.interfaces[0]:
                    gateways = map(ipaddress.ip_address, host.gateways)
                    assert any(gateway in found.network for gateway in gateways)


def test_a_node_more_changes_no_other_host() -> None:
    before = {host.name: host for host in home_network((1, 2, 3)).hosts}
    after = {host.name: host for host in home_network((1, 2, 3, 4)).hosts}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"node-4"}
    assert after["node-4"] == node_host(4)


@pytest.mark.parametrize("numbers", [(), (0,), (9,), (1, 12)])
def test_numbers_out_of_range_are_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="from 1 to 8"):
        home_network(numbers)


def test_only_nodes_and_router_forward() -> None:
    forwarding = {
        host.name
        for host in home_network().hosts
        if host.settings.get("net.ipv4.ip_forward") == "1"
        and host.settings.get("net.ipv6.conf.all.forwarding") == "1"
    }
    assert forwarding == {"router", "node-1", "node-2", "node-3"}


def test_files_name_every_host_and_the_home_router() -> None:
    topology = home_network()
    text = hosts_file(topology, "client-1")
    for name, addresses in EXPECTED.items():
        for address in addresses:
            assert f"{address} {name}" in text.splitlines()
    assert "nameserver 192.168.50.1" in resolver_file(topology.host("client-1"))
    assert pod_networks(2) == ("10.244.2.0/24", "fd00:10:244:2::/64")
