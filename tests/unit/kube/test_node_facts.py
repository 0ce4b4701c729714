"""A node's facts: what is no address, network or Ethernet address is left out, never an error."""

from typing import Any

import pytest

from cairn.kube.node import UPLINK_MAC, Node, NodeFacts

MAC = "02:00:00:00:00:01"


def facts(mac: str = MAC, cidr: str = "10.244.1.0/24", ip: str = "192.168.1.10") -> NodeFacts:
    obj: dict[str, Any] = {
        "metadata": {"name": "node-1", "annotations": {UPLINK_MAC: mac}},
        "spec": {
            "addresses": [
                {"type": "InternalIP", "ip": ip},
                {"type": "Hostname", "ip": "192.0.2.1"},
            ],
            "ipam": {"podCIDRs": [cidr]},
        },
    }
    return NodeFacts.from_object(obj)


def test_what_a_node_says() -> None:
    found = facts()
    assert str(found.internal_ips[0]) == "192.168.1.10"
    assert len(found.internal_ips) == 1
    assert str(found.pod_networks[0]) == "10.244.1.0/24"
    assert found.uplink_mac == MAC


@pytest.mark.parametrize("mac", ["", "02:00", "zz:00:00:00:00:01", MAC + ":01", "0200.0000.0001"])
def test_what_is_no_ethernet_address_is_none(mac: str) -> None:
    assert facts(mac=mac).uplink_mac == ""


@pytest.mark.parametrize("text", ["", "10.244.1.0/33", "x", "10.244.1"])
def test_what_is_no_network_is_left_out(text: str) -> None:
    assert facts(cidr=text).pod_networks == ()
    assert facts(ip=text).internal_ips == ()
    assert (
        Node.from_object({"metadata": {"name": "n"}, "spec": {"podCIDR": text}}).pod_networks == ()
    )
