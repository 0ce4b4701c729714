"""Limits of policies, compiled to the places where the data plane looks."""

from dataclasses import replace

from cairn.compile.policy_rates import (
    EVERYONE,
    MOST_PORTS,
    Limit,
    RateAt,
    RatedPorts,
    compile_rates,
)
from cairn.desired.load_balancer import ANY_NODE, Backend, Frontend, Kind
from cairn.kube.policy.rule import PolicyRef, RateLimit, RuleRef
from cairn.net import Protocol, parse_address, parse_l4_address

POLICY = PolicyRef("CiliumNetworkPolicy", "default", "ddos-protection")
RULE = RuleRef(POLICY, "ingress[0].toPorts[0]")
LATER = RuleRef(POLICY, "ingress[1].toPorts[0]")
POD = parse_address("10.244.1.5")
NODE = parse_address("192.168.1.10")
THOUSAND = RateLimit(per_second=1000, burst=1000)
HUNDRED = RateLimit(per_second=100, burst=100)
RATED = RatedPorts(
    addresses=(POD,), protocol=Protocol.TCP, first=80, last=80, limit=THOUSAND, rule=RULE
)
AT_POD = parse_l4_address("10.244.1.5:80/TCP")
AT_VIP = parse_l4_address("192.168.1.100:8080/TCP")


def frontend(kind: Kind = Kind.LOAD_BALANCER, backend: str = "10.244.1.5:80/TCP") -> Frontend:
    return Frontend("default/web", kind, (Backend(parse_l4_address(backend), "node-1"),))


def test_a_limit_is_at_the_pod_and_at_what_leads_there() -> None:
    found = compile_rates([RATED], {AT_VIP: frontend()})
    assert found == {
        RateAt(AT_POD, EVERYONE): Limit(THOUSAND, RULE),
        RateAt(AT_VIP, EVERYONE): Limit(THOUSAND, RULE),
    }


def test_a_service_of_another_port_or_for_sockets_alone_has_none() -> None:
    services = {
        AT_VIP: frontend(backend="10.244.1.5:81/TCP"),
        parse_l4_address("10.96.0.7:80/TCP"): frontend(Kind.CLUSTER_IP),
    }
    assert set(compile_rates([RATED], services)) == {RateAt(AT_POD, EVERYONE)}


def test_a_node_port_is_at_every_address_of_the_node() -> None:
    anywhere = replace(AT_VIP, address=ANY_NODE[4], port=30080)
    found = compile_rates([RATED], {anywhere: frontend(Kind.NODE_PORT)}, (NODE,))
    assert RateAt(replace(anywhere, address=NODE), EVERYONE) in found
    assert not any(at.where.address == ANY_NODE[4] for at in found)


def test_the_strictest_of_several_limits_holds() -> None:
    stricter = replace(RATED, limit=HUNDRED, rule=LATER)
    assert compile_rates([RATED, stricter], {}) == {RateAt(AT_POD, EVERYONE): Limit(HUNDRED, LATER)}


def test_a_limit_of_some_sources_leaves_the_others_alone() -> None:
    found = compile_rates([replace(RATED, remotes=frozenset({300, 301}))], {})
    assert found == {
        RateAt(AT_POD, 300): Limit(THOUSAND, RULE),
        RateAt(AT_POD, 301): Limit(THOUSAND, RULE),
        RateAt(AT_POD, EVERYONE): Limit(None, None, by_remote=True),
    }


def test_who_has_a_limit_of_his_own_keeps_the_common_one_if_it_is_stricter() -> None:
    own = replace(RATED, remotes=frozenset({300}), rule=LATER)
    found = compile_rates([replace(RATED, limit=HUNDRED), own], {})
    assert found[RateAt(AT_POD, 300)] == Limit(HUNDRED, RULE)
    assert found[RateAt(AT_POD, EVERYONE)] == Limit(HUNDRED, RULE, by_remote=True)


def test_a_short_range_is_written_port_by_port_and_a_long_one_where_ports_are_known() -> None:
    short = compile_rates([replace(RATED, last=82)], {})
    assert {at.where.port for at in short} == {80, 81, 82}
    wide = replace(RATED, first=1, last=MOST_PORTS + 1, declared=frozenset({7, 9000}))
    assert {at.where.port for at in compile_rates([wide], {})} == {7}
    everything = replace(RATED, first=0, last=65535)
    assert set(compile_rates([everything], {AT_VIP: frontend()})) == {RateAt(AT_VIP, EVERYONE)}


def test_a_rule_about_no_source_limits_nobody() -> None:
    assert compile_rates([replace(RATED, remotes=frozenset())], {}) == {}
