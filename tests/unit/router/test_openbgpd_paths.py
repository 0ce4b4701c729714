"""Which next hops OpenBGPD chose, from `bgpctl -j show rib` of a real session."""

import pytest

from cairn.net import parse_address, parse_network
from cairn.router.openbgpd_fib import Silent, chosen_paths

ANSWER = b"""{"rib": [
{"prefix": "203.0.113.1/32", "aspath": "", "exit_nexthop": "10.8.0.11", "true_nexthop": "10.8.0.1",
 "neighbor": {"remote_addr": "10.8.0.11", "bgp_id": "10.8.0.11"}, "valid": true, "best": true,
 "source": "internal", "origin": "IGP", "metric": 0, "localpref": 100, "last_update_sec": 2},
{"prefix": "203.0.113.1/32", "aspath": "", "exit_nexthop": "10.8.0.12", "true_nexthop": "10.8.0.1",
 "valid": true, "ecmp": true, "source": "internal"},
{"prefix": "203.0.113.1/32", "aspath": "1 2", "exit_nexthop": "10.8.0.13", "valid": true},
{"prefix": "203.0.113.2/32", "aspath": "", "exit_nexthop": "10.8.0.13", "best": true}
]}"""


def test_best_and_ecmp_paths_that_are_valid() -> None:
    hops = frozenset(map(parse_address, ("10.8.0.11", "10.8.0.12")))
    assert chosen_paths(ANSWER) == {parse_network("203.0.113.1/32"): hops}


def test_an_empty_rib_prints_nothing() -> None:
    assert chosen_paths(b"\n") == {}


@pytest.mark.parametrize(
    "answer",
    [
        b"control",
        b'{"rib": [1]}',
        b'{"rib": [{"prefix": "x", "exit_nexthop": "1.1.1.1", "valid": true, "best": true}]}',
    ],
)
def test_what_we_cannot_read_keeps_the_routes(answer: bytes) -> None:
    with pytest.raises(Silent):
        chosen_paths(answer)
