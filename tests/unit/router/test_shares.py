"""What nodes say of their links becomes the kernel's weights."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.attribute.extended_communities import link_bandwidth
from cairn.bgp.attribute.origin import Origin
from cairn.bgp.event import Path
from cairn.router.shares import MAX_WEIGHT, shares, weights

GIGABIT = 125_000_000.0


def path(hop: str, bandwidth: float | None) -> Path:
    marks = () if bandwidth is None else (link_bandwidth(64512, bandwidth),)
    attributes = Attributes(next_hop=ip_address(hop), extended_communities=marks)
    return Path(
        prefix=ip_network("2001:db8:f::1/128"),
        peer="p",
        next_hop=attributes.next_hop,
        local_pref=100,
        med=None,
        as_path=attributes.as_path,
        origin=Origin.IGP,
        communities=(),
        attributes=attributes,
        valid=True,
        invalid="",
        selected=True,
        multipath=False,
        stale=False,
        via_ibgp=True,
        announced=False,
        lost_at="",
    )


@pytest.mark.parametrize(
    ("bandwidths", "expected"),
    [
        ((GIGABIT, 2 * GIGABIT), [1, 2]),
        ((GIGABIT * 3, GIGABIT * 3), [1, 1]),
        ((GIGABIT, None), []),
        ((GIGABIT, 0.0), []),
        ((), []),
    ],
)
def test_shares(bandwidths: tuple[float | None, ...], expected: list[int]) -> None:
    paths = [path(f"fd00:1::{n + 10}", b) for n, b in enumerate(bandwidths)]
    assert list(shares(paths).values()) == expected


@pytest.mark.parametrize(
    ("given_", "expected"),
    [((7.0,), (1,)), ((3e9, 2e9), (3, 2)), ((1e9, 1.0), (256, 1)), ((0.25, 0.25), (1, 1))],
)
def test_weights(given_: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert weights(given_) == expected


@given(st.lists(st.floats(1e-3, 1e15), min_size=1, max_size=16))
def test_weights_are_what_the_kernel_takes_and_keep_the_order(bandwidths: list[float]) -> None:
    found = weights(bandwidths)
    assert all(1 <= one <= MAX_WEIGHT for one in found)
    ordered = [weight for _, weight in sorted(zip(bandwidths, found, strict=True))]
    assert ordered == sorted(ordered)
