"""A group of networks: what nodes deny of it, and what its author is told."""

from typing import Any

import pytest

from cairn.kube.cidr_group import CidrGroup
from cairn.kube.unsupported import unsupported
from cairn.net import parse_network


def group(*networks: Any, **annotations: str) -> dict[str, Any]:
    return {
        "kind": "CiliumCIDRGroup",
        "metadata": {
            "name": "bad",
            "annotations": {f"cairn.io/{k}": v for k, v in annotations.items()},
        },
        "spec": {"externalCIDRs": list(networks)},
    }


def test_networks_are_read_with_host_bits_and_without_a_length() -> None:
    read = CidrGroup.from_object(
        group("203.0.113.7/24", "2001:db8::1", " 192.0.2.0/24 ", deny="true")
    )
    assert read.denies
    assert read.networks == tuple(
        map(parse_network, ("203.0.113.0/24", "2001:db8::1/128", "192.0.2.0/24"))
    )
    assert read.unreadable == ()


@pytest.mark.parametrize("text", ["nonsense", "10.0.0.0/33", "", 7.5, None])
def test_a_network_that_cannot_be_read_is_named_and_keeps_no_other_out(text: Any) -> None:
    read = CidrGroup.from_object(group(text, "192.0.2.0/24", deny="true"))
    assert read.networks == (parse_network("192.0.2.0/24"),)
    assert len(read.unreadable) == 1
    told = unsupported(group(text, "192.0.2.0/24", deny="true"))
    assert [gap.reason for gap in told] == ["NetworkNotDenied"]
    told = unsupported(group(text, "192.0.2.0/24"))
    assert [gap.reason for gap in told] == ["NetworkNotRead"]


@pytest.mark.parametrize(
    ("annotations", "reasons"),
    [
        ({}, []),
        ({"deny": "false"}, []),
        ({"deny": "yes"}, ["GroupNotDenied"]),
        ({"deny": "true"}, []),
    ],
)
def test_a_deny_list_that_is_none_says_so(annotations: dict[str, str], reasons: list[str]) -> None:
    told = unsupported(group("192.0.2.0/24", **annotations))
    assert [gap.reason for gap in told] == reasons
    assert all("cairn.io/deny=true" in gap.message for gap in told)
