"""The reference document's policies, to the letter, as they are read."""

from pathlib import Path
from typing import Any

import yaml
from policy_text import being, pods

from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import (
    Action,
    CidrPeer,
    Direction,
    DnsRule,
    FqdnPeer,
    Policy,
    PortMatch,
    RateLimit,
    Rule,
)
from cairn.kube.selector import Selector
from cairn.net import Protocol, parse_network

SCENARIO = Path(__file__).parents[2] / "vectors" / "scenario"
IN, OUT = Direction.INGRESS, Direction.EGRESS
TCP, UDP = Protocol.TCP, Protocol.UDP


def scenario(name: str) -> Policy:
    obj: Any = yaml.safe_load((SCENARIO / f"{name}.yaml").read_text())
    (policy,) = read_policies(obj)
    return policy


def production(**labels: str) -> Any:
    return pods(namespace="production", **labels)


def test_the_policy_of_the_web_tier() -> None:
    policy = scenario("web-tier-policy")
    assert str(policy.ref) == "CiliumNetworkPolicy/production/web-tier-policy"
    assert policy.subject == Selector(being(namespace="production", tier="web"))
    assert policy.isolates == {IN, OUT}
    names = ("api.github.com", "registry.example.org")
    assert policy.rules == (
        Rule(
            "ingress[0].toPorts[0]",
            IN,
            Action.ALLOW,
            (production(app="nginx-ingress"),),
            (PortMatch(TCP, 8080, 8080),),
        ),
        Rule(
            "ingress[1].toPorts[0]",
            IN,
            Action.ALLOW,
            (production(tier="web"),),
            (PortMatch(TCP, 8080, 8080),),
        ),
        Rule(
            "egress[0].toPorts[0]",
            OUT,
            Action.ALLOW,
            (production(tier="database"),),
            (PortMatch(TCP, 5432, 5432),),
        ),
        Rule("egress[1]", OUT, Action.ALLOW, (FqdnPeer(names[0]),)),
        Rule("egress[2]", OUT, Action.ALLOW, (FqdnPeer(names[1]),)),
        Rule(
            "implied.dns",
            OUT,
            Action.ALLOW,
            (pods(namespace="kube-system", **{"k8s-app": "kube-dns"}),),
            (PortMatch(UDP, 53, 53), PortMatch(TCP, 53, 53)),
            dns=tuple(map(DnsRule, names)),
            implied=True,
        ),
    )
    assert [finding.reason for finding in policy.findings] == [
        "PodSelectorAlias",
        "PolicyTypesAlias",
        "DnsImplied",
    ]


def test_deny_all_closes_both_directions_without_rules() -> None:
    policy = scenario("default-deny-all")
    assert policy.subject == Selector(being(namespace="default"))
    assert policy.isolates == {IN, OUT}
    assert policy.rules == ()


def test_the_rate_limit() -> None:
    policy = scenario("ddos-protection")
    assert policy.isolates == {IN}
    assert policy.rules == (
        Rule(
            "ingress[0].toPorts[0].ports[0]",
            IN,
            Action.ALLOW,
            (CidrPeer(parse_network("0.0.0.0/0")),),
            (PortMatch(TCP, 80, 80),),
            rate=RateLimit(1000, 1000),
        ),
    )
    assert [finding.reason for finding in policy.findings] == [
        "PodSelectorAlias",
        "WorldOnly",
        "RateLimitOwn",
    ]
