"""Limits of policies where a pod's packets are judged, without the XDP program and beside it."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest
import trial
from packets import ACK, SYN, TCP, UDP
from policy_trial import OPEN, WEB, Policed, datagram, policed, segment
from trial import CLIENT, OTHER_POD, POD

from cairn.abi.structs import PolicyRate, RateAt, Revision, RevisionFlag
from cairn.abi.verdicts import Verdict as Outcome
from cairn.desired.policy import DirectionPolicy, SubjectPolicy

pytestmark = pytest.mark.bpf

TO_POD, TOO_FAST = Outcome.TO_POD, Outcome.DROP_POLICY_RATE
RULE = 77


@pytest.fixture
def node() -> Iterator[Policed]:
    with policed() as made:
        made.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(OPEN)))
        for protocol in (TCP, UDP):
            at = RateAt(ip_address(POD), 0, 80, protocol)
            made.node.maps["policy_rates"].update(at.write(), PolicyRate(RULE, 1, 2, 0).write())
        say(made, RevisionFlag.POLICY_RATES)
        yield made


def say(node: Policed, flags: RevisionFlag) -> None:
    node.node.maps["revision"].update(bytes(4), Revision(7, flags).write())


@pytest.mark.parametrize("make", [segment, datagram])
def test_who_comes_by_the_uplink_is_limited(node: Policed, make: object) -> None:
    assert callable(make)
    outcomes = [node.outcome(make(CLIENT, 40000 + n, POD, 80), "uplink_ingress") for n in range(4)]
    assert outcomes == [TO_POD, TO_POD, TOO_FAST, TOO_FAST]


def test_a_pod_of_the_same_node_is_limited(node: Policed) -> None:
    outcomes = [node.outcome(segment(OTHER_POD, 40000 + n, POD, 80)) for n in range(3)]
    assert outcomes == [TO_POD, TO_POD, TOO_FAST]


def test_who_comes_through_a_service_spends_the_same_budget(node: Policed) -> None:
    at = RateAt(ip_address(POD), 0, 8080, TCP)
    node.node.maps["policy_rates"].update(at.write(), PolicyRate(RULE, 1, 2, 0).write())
    to_service = [
        node.outcome(segment(CLIENT, 41000 + n, trial.VIP, trial.LOCAL_PORT), "uplink_ingress")
        for n in range(3)
    ]
    assert to_service == [Outcome.TO_BACKEND, Outcome.TO_BACKEND, TOO_FAST]
    assert node.outcome(segment(CLIENT, 42000, POD, 80), "uplink_ingress") == TOO_FAST


def test_what_goes_on_is_not_counted(node: Policed) -> None:
    assert node.outcome(segment(CLIENT, 40000, POD, 80, SYN), "uplink_ingress") == TO_POD
    more = [node.outcome(segment(CLIENT, 40000, POD, 80, ACK), "uplink_ingress") for _ in range(5)]
    assert more == [TO_POD] * 5


def test_what_xdp_has_judged_is_not_judged_again(node: Policed) -> None:
    say(node, RevisionFlag.POLICY_RATES | RevisionFlag.RATES_BEFORE)
    outcomes = [
        node.outcome(segment(CLIENT, 40000 + n, POD, 80), "uplink_ingress") for n in range(4)
    ]
    assert outcomes == [TO_POD] * 4
    inside = [node.outcome(segment(OTHER_POD, 40000 + n, POD, 80)) for n in range(3)]
    assert inside == [TO_POD, TO_POD, TOO_FAST]


def test_without_the_flag_nothing_is_looked_up(node: Policed) -> None:
    say(node, RevisionFlag(0))
    outcomes = [
        node.outcome(segment(CLIENT, 40000 + n, POD, 80), "uplink_ingress") for n in range(4)
    ]
    assert outcomes == [TO_POD] * 4
