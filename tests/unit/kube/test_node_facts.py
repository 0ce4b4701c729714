"""A node's facts: what is no address, network or Ethernet address is left out, never an error."""

from typing import Any

import pytest

from cairn.kube.node import (
    EJECTED,
    UPLINK_MAC,
    Node,
    NodeFacts,
    ejections_of,
    spell_ejections,
)
from cairn.net import parse_l4_address

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


def test_ejected_backends_survive_the_annotation() -> None:
    said = {
        parse_l4_address("[fd00::5]:80/TCP"): "HTTP status 503",
        parse_l4_address("10.244.1.5:8080/TCP"): "refused; then silent",
        parse_l4_address("10.244.1.5:53/UDP"): "",
    }
    text = spell_ejections(said)
    assert text.startswith("10.244.1.5:8080/TCP refused, then silent; ")
    obj = {"metadata": {"name": "n", "annotations": {EJECTED: text}}, "spec": {}}
    assert ejections_of(obj).keys() == said.keys()
    assert NodeFacts.from_object(obj).ejected == frozenset(said)
    assert spell_ejections(ejections_of(obj)) == text


@pytest.mark.parametrize("text", ["", "; ", "10.244.1.5", "x:80/TCP a", "10.0.0.1:99999/TCP b"])
def test_what_is_no_backend_is_not_ejected(text: str) -> None:
    assert ejections_of({"metadata": {"annotations": {EJECTED: text}}}) == {}
