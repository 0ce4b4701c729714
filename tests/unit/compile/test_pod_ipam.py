"""Pod addresses go round their network."""

import pytest

from cairn.compile.pod_ipam import Exhausted, next_address
from cairn.net import Address, parse_address, parse_network

NET = parse_network("10.244.1.0/29")


def addresses(*texts: str) -> set[Address]:
    return {parse_address(text) for text in texts}


@pytest.mark.parametrize(
    ("used", "last", "expected"),
    [
        (set(), None, "10.244.1.1"),
        (addresses("10.244.1.1"), None, "10.244.1.2"),
        (set(), "10.244.1.1", "10.244.1.2"),
        (addresses("10.244.1.3"), "10.244.1.2", "10.244.1.4"),
        (set(), "10.244.1.6", "10.244.1.1"),
        (addresses("10.244.1.1"), "10.244.1.6", "10.244.1.2"),
        (set(), "10.9.9.9", "10.244.1.1"),
    ],
)
def test_next(used: set[Address], last: str | None, expected: str) -> None:
    previous = parse_address(last) if last else None
    assert str(next_address(NET, used, previous)) == expected


def test_exhausted_says_how_many() -> None:
    used = {NET.network_address + i for i in range(8)}
    with pytest.raises(Exhausted, match="all 6 pod addresses of 10.244.1.0/29"):
        next_address(NET, used, None)


def test_every_address_is_given_once_per_round() -> None:
    given: list[Address] = []
    for _ in range(6):
        given.append(next_address(NET, set(given), given[-1] if given else None))
    assert len(set(given)) == 6


def test_ipv6() -> None:
    assert str(next_address(parse_network("fd00:1::/64"), set(), None)) == "fd00:1::1"
