"""Prefix filters: first match decides, no match denies."""

import pytest

from cairn.desired.prefix_filter import host_routes_within, parse_filter
from cairn.net import parse_network

CASES = [
    ("permit 192.168.1.0/24", "192.168.1.100/32", True),
    ("permit 192.168.1.0/24", "192.168.1.0/24", True),
    ("permit 192.168.1.0/24", "192.168.0.0/16", False),
    ("permit 192.168.1.0/24", "2001:db8::/64", False),
    ("permit 192.168.1.0/24 exact", "192.168.1.100/32", False),
    ("permit 192.168.1.0/24 ge 32", "192.168.1.0/25", False),
    ("permit 10.0.0.0/8 le 24", "10.244.1.0/24", True),
    ("permit 10.0.0.0/8 le 24", "10.244.1.1/32", False),
    ("deny any", "192.168.1.100/32", False),
    ("permit any", "2001:db8::1/128", True),
    ("deny 10.0.0.0/8; permit any", "10.1.0.0/16", False),
    ("deny 10.0.0.0/8, permit any", "11.1.0.0/16", True),
    ("Permit 192.168.1.100/28", "192.168.1.97/32", True),
]


@pytest.mark.parametrize(("text", "prefix", "permitted"), CASES)
def test_first_match_decides(text: str, prefix: str, permitted: bool) -> None:
    assert parse_filter(text).permits(parse_network(prefix)) is permitted


@pytest.mark.parametrize(("text", "prefix", "permitted"), CASES)
def test_text_round_trip(text: str, prefix: str, permitted: bool) -> None:
    assert parse_filter(str(parse_filter(text))).permits(parse_network(prefix)) is permitted


@pytest.mark.parametrize("text", ["", "allow any", "permit", "permit 10.0.0.0/33", "permit any x"])
def test_nonsense_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="filter"):
        parse_filter(text)


def test_host_routes_only() -> None:
    filter_ = host_routes_within((parse_network("192.168.1.96/28"),))
    assert filter_.permits(parse_network("192.168.1.100/32"))
    assert not filter_.permits(parse_network("192.168.1.96/28"))
    assert not filter_.permits(parse_network("0.0.0.0/0"))


def test_equal_texts_are_equal_filters() -> None:
    assert parse_filter("permit 10.0.0.0/8") == parse_filter("permit  10.0.0.0/8 ;")
