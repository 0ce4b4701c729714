"""EndpointSlices and NetworkPolicies: what is refused beyond the schema."""

from typing import Any

import pytest

from cairn.apiserver.schema import admit


def policy(**rule: Any) -> dict[str, Any]:
    spec = {"podSelector": {}, "ingress": [rule]}
    return {"kind": "NetworkPolicy", "metadata": {"name": "p"}, "spec": spec}


def piece(family: str, *addresses: str) -> dict[str, Any]:
    endpoints = [{"addresses": list(addresses)}]
    return {"metadata": {"name": "s"}, "addressType": family, "endpoints": endpoints}


SLICES = [
    (piece("IPv4", "10.0.0.1"), []),
    (piece("IPv6", "fd00::1"), []),
    (piece("FQDN", "a.example.org"), []),
    (piece("IPv4", "fd00::1"), ["endpoints[0].addresses[0]"]),
    (piece("IPv6", "10.0.0.1"), ["endpoints[0].addresses[0]"]),
    (piece("IPv4"), ["endpoints[0].addresses"]),
    (piece("IPv4", "127.0.0.1"), []),
    (piece("IPv4", "0.0.0.0"), ["endpoints[0].addresses[0]"]),
    (piece("IPv4", "169.254.1.1"), ["endpoints[0].addresses[0]"]),
    (piece("IPv6", "fd00::1", "ff02::1"), ["endpoints[0].addresses[1]"]),
]


@pytest.mark.parametrize(("obj", "fields"), SLICES)
def test_slices(kinds: Any, obj: Any, fields: list[str]) -> None:
    kind = kinds["discovery.k8s.io/v1", "EndpointSlice"]
    admitted, errors, _ = admit(kind, obj, "Strict")
    assert errors == []
    assert [error.field for error in kind.validate(admitted, None)] == fields


def test_the_family_of_a_slice_is_immutable(kinds: Any) -> None:
    kind = kinds["discovery.k8s.io/v1", "EndpointSlice"]
    errors = kind.validate(piece("IPv6", "fd00::1"), piece("IPv4", "10.0.0.1"))
    assert [error.field for error in errors] == ["addressType"]


BLOCK = {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}
POLICIES = [
    (policy(), []),
    (policy(**{"from": [{"podSelector": {}}, {"ipBlock": BLOCK}]}), []),
    (policy(ports=[{"port": 80, "endPort": 90}, {"port": "http"}]), []),
    (policy(**{"from": [{}]}), ["spec.ingress[0].from[0]"]),
    (
        policy(**{"from": [{"ipBlock": {"cidr": "10/8/8"}}]}),
        ["spec.ingress[0].from[0].ipBlock.cidr"],
    ),
    (
        policy(**{"from": [{"ipBlock": BLOCK, "podSelector": {}}]}),
        ["spec.ingress[0].from[0]"],
    ),
    (
        policy(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}),
        ["spec.ingress[0].from[0].ipBlock.except[0]"],
    ),
    (
        policy(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["x", "fd00::/64"]}}]}),
        ["spec.ingress[0].from[0].ipBlock.except[0]"],
    ),
    (policy(ports=[{"port": 0}]), ["spec.ingress[0].ports[0].port"]),
    (policy(ports=[{"port": 90, "endPort": 80}]), ["spec.ingress[0].ports[0].endPort"]),
]


@pytest.mark.parametrize(("obj", "fields"), POLICIES)
def test_policies(kinds: Any, obj: Any, fields: list[str]) -> None:
    kind = kinds["networking.k8s.io/v1", "NetworkPolicy"]
    admitted, errors, _ = admit(kind, obj, "Strict")
    assert errors == []
    assert [error.field for error in kind.validate(admitted, None)] == fields
