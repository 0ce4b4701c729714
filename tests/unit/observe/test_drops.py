"""Records of drops become lines that name who, whom and why."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from cairn.abi import structs
from cairn.abi.records import EVENT
from cairn.abi.verdicts import Verdict
from cairn.kube.policy.rule import PolicyRef, RuleRef
from cairn.net import parse_address
from cairn.observe.drops import Names, sum_drops


def event(source: str, port: int, verdict: int, *, suppressed: int = 0, rule: int = 0) -> bytes:
    blank = structs.Event.read(bytes(structs.Event.SIZE))
    return replace(
        blank,
        source=parse_address(source),
        destination=parse_address("192.168.1.100"),
        destination_port=port,
        protocol=6,
        verdict=verdict,
        suppressed=suppressed,
        rule=rule,
    ).write()


def records(*events: bytes) -> npt.NDArray[np.void]:
    return np.frombuffer(b"".join(events), dtype=EVENT)


def test_equal_drops_are_summed_with_those_not_sampled() -> None:
    drops = sum_drops(
        records(
            event("192.168.50.10", 81, Verdict.DROP_NO_SERVICE),
            event("192.168.50.10", 81, Verdict.DROP_NO_SERVICE, suppressed=7),
            event("192.168.50.11", 81, Verdict.DROP_NO_SERVICE),
        )
    )
    assert [(str(drop.source), drop.packets) for drop in drops] == [
        ("192.168.50.10", 9),
        ("192.168.50.11", 1),
    ]


def test_a_line_names_who_whom_and_why() -> None:
    (drop,) = sum_drops(records(event("192.168.50.10", 81, Verdict.DROP_NO_SERVICE)))
    assert str(drop) == (
        "1 packet dropped, 192.168.50.10 to 192.168.1.100:81 TCP: "
        "no service listens on this port of a service address"
    )
    assert drop.reason == "DROP_NO_SERVICE"


def test_an_unknown_reason_is_told_as_such() -> None:
    (drop,) = sum_drops(records(event("192.168.50.10", 81, 63)))
    assert "does not know" in str(drop)
    assert drop.reason == "63"


def test_nothing_gives_nothing() -> None:
    assert sum_drops(records()) == []


RULE = RuleRef(PolicyRef("CiliumNetworkPolicy", "production", "web-tier-policy"), "ingressDeny[0]")
NAMES = Names(
    {7: RULE}.get,
    lambda address: "production/web-1" if str(address) == "192.168.1.100" else "",
)


@pytest.mark.parametrize(
    ("verdict", "rule", "line"),
    [
        (
            Verdict.DROP_POLICY_DENIED,
            7,
            "1 packet dropped, 10.0.0.1 to production/web-1 (192.168.1.100:81) TCP: "
            "denied by CiliumNetworkPolicy/production/web-tier-policy ingressDeny[0]",
        ),
        (
            Verdict.DROP_POLICY_DEFAULT,
            7,
            "1 packet dropped, 10.0.0.1 to production/web-1 (192.168.1.100:81) TCP: "
            "default deny by CiliumNetworkPolicy/production/web-tier-policy",
        ),
        (
            Verdict.AUDITED,
            7,
            "1 packet let through, 10.0.0.1 to production/web-1 (192.168.1.100:81) TCP: "
            "CiliumNetworkPolicy/production/web-tier-policy ingressDeny[0], in audit mode, "
            "would have decided otherwise",
        ),
        (
            Verdict.DROP_POLICY_DENIED,
            8,
            "1 packet dropped, 10.0.0.1 to production/web-1 (192.168.1.100:81) TCP: "
            "a rule of a policy forbids it",
        ),
    ],
)
def test_a_line_names_the_policy_and_the_rule(verdict: Verdict, rule: int, line: str) -> None:
    (drop,) = sum_drops(records(event("10.0.0.1", 81, verdict, rule=rule)))
    assert drop.describe(NAMES) == line


def test_drops_by_different_rules_are_told_apart() -> None:
    denied = Verdict.DROP_POLICY_DENIED
    drops = sum_drops(records(*(event("10.0.0.1", 81, denied, rule=rule) for rule in (7, 8, 7))))
    assert [(drop.rule, drop.packets) for drop in drops] == [(7, 2), (8, 1)]
