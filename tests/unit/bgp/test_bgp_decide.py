"""The ladder of the decision process, rung by rung."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from itertools import permutations

import pytest

from cairn.bgp.attribute.as_path import sequence
from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.attribute.origin import Origin
from cairn.bgp.decide import LADDER, NOT_NEEDED, decide
from cairn.bgp.rib.route import Route, Source

PREFIX = ip_network("192.168.1.100/32")


def route(last: int, *, asn: int = 64512, **attributes: object) -> Route:
    """Return a route of peer 192.168.1.`last`, who is the next hop too."""
    address = ip_address(f"192.168.1.{last}")
    source = Source(f"n{last}", address, address, 64512, asn, IPv4Address(f"192.168.1.{last}"))
    fields: dict[str, object] = {"next_hop": address, "as_path": sequence(65001), **attributes}
    return Route(PREFIX, Attributes(**fields), source)  # type: ignore[arg-type]


BASE = route(20)
OUR_OWN = Source(
    "", IPv4Address("10.0.0.1"), IPv4Address("10.0.0.1"), 0, 0, IPv4Address("10.0.0.1")
)
FAR = replace(route(10), igp_cost=5)
REFLECTED = route(30, originator_id=IPv4Address("192.168.1.20"))
CASES = [
    ("our own route wins", replace(BASE, source=OUR_OWN), route(10, local_pref=900)),
    ("higher local preference wins", route(20, local_pref=101), route(10)),
    ("shorter AS path wins", BASE, route(10, as_path=sequence(65001, 65001))),
    ("lower origin wins", BASE, route(10, origin=Origin.EGP)),
    ("lower MED from one AS wins", BASE, route(10, med=1)),
    ("external route wins over internal", route(20, asn=65001), route(10)),
    ("lower IGP cost wins", BASE, FAR),
    ("lower originator identifier wins", BASE, route(21)),
    (
        "shorter cluster list wins",
        BASE,
        route(
            10, originator_id=IPv4Address("192.168.1.20"), cluster_list=(IPv4Address("1.1.1.1"),)
        ),
    ),
    ("lower peer address wins", BASE, REFLECTED),
]


def test_every_rung_has_a_case() -> None:
    assert [name for name, _, _ in CASES] == [step.name for step in LADDER]


@pytest.mark.parametrize(("name", "winner", "loser"), CASES)
def test_rung(name: str, winner: Route, loser: Route) -> None:
    for routes in permutations([winner, loser]):
        decision = decide(routes)
        assert decision.used == (winner,)
        assert decision.lost == ((loser, name),)


def test_ties_through_the_igp_cost_are_used_together_in_one_order() -> None:
    routes = [route(12), route(10), route(11)]
    for some in permutations(routes):
        used = decide(some, multipath=16).used
        assert [str(one.attributes.next_hop)[-2:] for one in used] == ["10", "11", "12"]


def test_the_same_next_hop_is_used_once() -> None:
    twice = replace(route(11), attributes=route(10).attributes)
    decision = decide([route(10), twice], multipath=16)
    assert decision.used == (route(10),)
    assert decision.lost == ((twice, NOT_NEEDED),)


def test_a_med_of_another_system_does_not_count() -> None:
    other = route(10, as_path=sequence(65002), med=9)
    assert len(decide([BASE, other], multipath=16).used) == 2


def test_med_within_one_system_does_not_depend_on_the_order() -> None:
    routes = [
        route(10, as_path=sequence(65001), med=10),
        route(11, as_path=sequence(65002), med=1),
        route(12, as_path=sequence(65001), med=0),
    ]
    for some in permutations(routes):
        assert set(decide(some, multipath=16).used) == {routes[1], routes[2]}
