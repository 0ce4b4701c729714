"""Only what leaves the cluster is masqueraded, whatever the pods' networks are."""

from cairn.apply.masquerade import masquerade_rules
from cairn.apply.uplink import Uplink
from cairn.net import parse_address, parse_network

UPLINK = Uplink(
    "eth0", 2, "02:00:00:00:00:01", 1500, parse_address("10.0.0.1"), parse_network("10.0.0.0/24")
)


def test_pods_of_all_nodes_are_within_and_everything_else_is_without() -> None:
    rules = masquerade_rules(
        UPLINK,
        [parse_network("10.0.9.0/24"), parse_network("10.0.8.0/24"), parse_network("fd::/64")],
        [parse_address("10.0.0.1"), parse_address("10.0.1.1")],
    )
    pods = "{ 10.0.8.0/24, 10.0.9.0/24 }"
    inside = "{ 10.0.0.1/32, 10.0.1.1/32, 10.0.8.0/24, 10.0.9.0/24 }"
    assert f'ip saddr {pods} ip daddr != {inside} oifname "eth0" masquerade' in rules
    only = "{ fd::/64 }"
    assert f'ip6 saddr {only} ip6 daddr != {only} oifname "eth0" masquerade' in rules
    assert rules.count("masquerade") == 2


def test_without_pods_there_is_no_rule() -> None:
    assert "masquerade" not in masquerade_rules(UPLINK, [], [])
