"""Requests and lookups name the rule that had a proxy judge them."""

from typing import Any

import pytest

from cairn.agent.flow_ends import Sources
from cairn.agent.flow_rules import FlowRules
from cairn.compile.policy.engine import Engine
from cairn.flow.address import write_octets
from cairn.kube.metadata import Key
from cairn.kube.policy.read import read_policies
from cairn.kube.policy.workload import Workload
from cairn.net import Address, parse_address
from cairn.observe.flow_records import Asked

WEB, CLIENT, OUTSIDE, API = map(parse_address, ("10.0.0.1", "10.0.0.2", "8.8.8.8", "192.0.2.9"))
GET = {"http": [{"method": "GET"}]}
POLICY: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"namespace": "shop", "name": "web"},
    "spec": {
        "endpointSelector": {"matchLabels": {"app": "web"}},
        "ingress": [
            {"toPorts": [{"ports": [{"port": "9090"}]}]},
            {"toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": GET}]},
        ],
        "egress": [
            {
                "toEntities": ["world"],
                "toPorts": [
                    {
                        "ports": [{"port": "53", "protocol": "ANY"}],
                        "rules": {"dns": [{"matchPattern": "*"}]},
                    }
                ],
            },
            {
                "toFQDNs": [{"matchPattern": "*.example.com"}],
                "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": GET}],
            },
        ],
    },
}


@pytest.fixture
def rules() -> tuple[FlowRules, int]:
    engine = Engine("node-1")
    web = Key("shop", "web-1")
    engine.put_pod(Workload(web, {"app": "web"}, "", "node-1", (WEB,)))
    engine.put_pod(Workload(Key("shop", "client"), {}, "", "node-1", (CLIENT,)))
    for policy in read_policies(POLICY):
        engine.put_policy(policy)
    names = {API: ("api.example.com",)}
    made = FlowRules(Sources(engine, {}, {}, lambda address: names.get(address, ())))
    return made, engine.identity_of(web)


@pytest.mark.parametrize(
    ("peer", "protocol", "port", "ingress", "rule"),
    [
        (CLIENT, 6, 80, True, "ingress[1].toPorts[0]"),
        (CLIENT, 6, 9090, True, ""),  # no proxy
        (CLIENT, 6, 81, True, ""),  # not allowed at all
        (OUTSIDE, 17, 53, False, "egress[0].toPorts[0]"),
        (API, 6, 80, False, "egress[1].toPorts[0]"),  # by its name
        (OUTSIDE, 6, 80, False, ""),  # that has none
    ],
)
def test_the_rule_is_named(
    rules: tuple[FlowRules, int], peer: Address, protocol: int, port: int, ingress: bool, rule: str
) -> None:
    flow_rules, subject = rules
    asked = Asked(subject, write_octets(peer), protocol, port, ingress)
    found = flow_rules.decision(asked)
    assert (found.rule if found else "") == rule
    if found:
        assert (found.namespace, found.name, found.egress) == ("shop", "web", not ingress)


def test_nobody_of_this_node_has_no_rule(rules: tuple[FlowRules, int]) -> None:
    asked = Asked(4242, write_octets(CLIENT), 6, 80, ingress=True)
    assert rules[0].decision(asked) is None
