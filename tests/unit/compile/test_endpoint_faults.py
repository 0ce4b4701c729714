"""Endpoints that are named in vain are told of, with what becomes of their clients."""

from typing import Any

import pytest

from cairn.compile.endpoint_faults import endpoint_faults
from cairn.kube.endpoint_address import unusable
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.service import Service
from cairn.net import parse_address

POD = {"addresses": ["10.244.1.2"], "nodeName": "node-1"}
ELSEWHERE = {"addresses": ["192.0.2.55"]}


def faults(*endpoints: dict[str, Any], kind: str = "LoadBalancer", **spec: Any) -> dict[str, str]:
    """Return the sentences by reason, empty ones left out."""
    name = spec.pop("name", ("default", "web"))
    service = Service.from_object(
        {
            "metadata": {"namespace": name[0], "name": name[1]},
            "spec": {"type": kind, "clusterIP": "10.96.0.7", "ports": [{"port": 80}], **spec},
        }
    )
    known = EndpointSlice.from_object({"ports": [{"port": 8080}], "endpoints": list(endpoints)})
    return {reason: text for _, reason, text in endpoint_faults(service, [known]) if text}


def test_pods_are_nothing_to_tell_of() -> None:
    assert faults(POD) == {}


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "reserved or broadcast"),
        ("::ffff:10.0.0.1", "an IPv4 address inside IPv6"),
    ],
)
def test_an_address_that_is_none_is_named_with_its_kind(address: str, kind: str) -> None:
    assert unusable(parse_address(address)) == kind
    text = faults(POD, {"addresses": [address], "nodeName": "node-1"})["EndpointNotUsed"]
    assert f"({kind})" in text


@pytest.mark.parametrize("address", ["10.244.1.2", "192.168.1.11", "2001:db8::1", "100.64.0.1"])
def test_any_other_may_be_a_backend(address: str) -> None:
    assert unusable(parse_address(address)) == ""


def test_the_api_servers_own_loopback_is_its_own_business() -> None:
    local = {"addresses": ["127.0.0.1"]}
    assert faults(local, kind="ClusterIP", name=("default", "kubernetes")) == {}


def test_a_backend_outside_the_cluster_serves_processes_alone() -> None:
    assert faults(ELSEWHERE, kind="ClusterIP") == {}
    text = faults(ELSEWHERE)["BackendOutsideCluster"]
    assert "192.0.2.55: no nodeName" in text
    assert "no address is announced" in text
    assert "the other endpoints serve" in faults(POD, ELSEWHERE)["BackendOutsideCluster"]
    assert faults(ELSEWHERE, kind="ClusterIP", externalIPs=["203.0.113.9"]) != {}


def test_many_are_counted() -> None:
    many = [{"addresses": [f"192.0.2.{n}"]} for n in range(1, 7)]
    assert "and 3 more: no nodeName" in faults(*many)["BackendOutsideCluster"]
