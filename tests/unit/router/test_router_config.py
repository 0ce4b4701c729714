"""The router's configuration file, and the rules that come from it."""

import pytest

from cairn.desired.reader import ConfigError
from cairn.net import parse_network
from cairn.router.config import load_router_config
from cairn.router.firewall import compile_rules

HOME = """
asn: 64512
router_id: 192.168.1.1
listen: [192.168.1.1]
groups:
- name: nodes
  prefix: 192.168.1.0/24
  remote_asn: internal
  accept: [192.168.1.96/28]
"""


def test_home_router() -> None:
    config = load_router_config(HOME)
    (group,) = config.groups
    assert group.negotiates() == ("ipv4/unicast", "ipv6/unicast")
    assert group.accepts().permits(parse_network("192.168.1.100/32"))
    assert not group.accepts().permits(parse_network("192.168.1.1/32"))
    assert not group.accepts().permits(parse_network("192.168.1.96/28"))


def test_a_default_route_is_never_accepted_by_default() -> None:
    (group,) = load_router_config(HOME.replace("  accept: [192.168.1.96/28]", "")).groups
    assert not group.accepts().permits(parse_network("0.0.0.0/0"))
    assert not group.accepts().permits(parse_network("::/0"))
    assert group.accepts().permits(parse_network("10.244.1.0/24"))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("asn: [", "line"),
        ("7", "object"),
        ("asn: 64512\nrouter_id: 1.1.1.1\ngroups: []", "nobody"),
        (HOME.replace("64512", "zero"), "config.asn"),
        (HOME.replace("internal", "friendly"), "remote_asn.*friendly"),
        (HOME.replace("192.168.1.0/24", "192.168.1.7/24"), "prefix.*host bits"),
        (HOME + "colour: red\n", "colour"),
    ],
)
def test_errors_name_the_field(content: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_router_config(content)


def test_rules_let_only_the_peers_networks_in() -> None:
    rules = compile_rules([parse_network("192.168.1.0/24"), parse_network("fd00::/64")], 179)
    assert "tcp dport 179 ip saddr { 192.168.1.0/24 } accept" in rules
    assert "tcp dport 179 ip6 saddr { fd00::/64 } accept" in rules
    assert rules.index("accept\n\t\ttcp dport 179 counter drop") > 0
