"""Which events a packet makes, by kind: trial runs of the kernel's programs."""

import os
import time
from collections.abc import Iterator

import numpy as np
import packets
import pytest
import trial
from packets import ACK, FIN, RST, SYN
from policy_trial import (
    ALLOW,
    DATABASE,
    DEFAULT,
    NOBODY,
    POLICY,
    PROXY_PORT,
    SHUT,
    STRANGER,
    WEB,
    Policed,
    datagram,
    frame,
    policed,
    segment,
)
from trial import CLIENT, NODE, OTHER_POD, POD, REMOTE_POD, VIP
from xdp_trial import TX, beside

from cairn.abi.address import read_address
from cairn.abi.event import Event, EventFlag, EventKind, Point
from cairn.abi.records import EVENT
from cairn.abi.structs import ConfigFlag, PolicyAction
from cairn.abi.verdicts import Verdict as Outcome
from cairn.apply.policy_flow_sweeper import sweep_flows
from cairn.desired.policy import DirectionPolicy, Redirect, SubjectPolicy, Table, Verdict
from cairn.kube.policy.rule import HttpRule, RuleRef
from cairn.libbpf.ring import Ring

pytestmark = pytest.mark.bpf

NEW, CLOSED, DROP = EventKind.NEW, EventKind.CLOSED, EventKind.DROP
FROM_POD, TO_POD, REPLY = EventFlag.FROM_POD, EventFlag.TO_POD, EventFlag.REPLY
UPLINK_IN, EGRESS = "uplink_ingress", "pod_egress"
AUDITING = RuleRef(POLICY, "ingress[1]")
A_YEAR_NS = 366 * 86_400 * 10**9


@pytest.fixture
def node() -> Iterator[Policed]:
    with policed(ConfigFlag.EVENTS) as made:
        yield made


def told(node: Policed) -> list[Event]:
    """Return the events that are new."""
    return [Event.read(record.tobytes()) for record in node.ring.drain()]


def kinds(node: Policed) -> list[int]:
    return [event.kind for event in told(node)]


def test_a_connection_between_pods_is_told_once_for_both(node: Policed) -> None:
    node.outcome(segment(POD, 40000, OTHER_POD, 80))
    node.outcome(segment(OTHER_POD, 80, POD, 40000, SYN | ACK))
    (begun,) = told(node)
    assert (begun.kind, begun.verdict, begun.point) == (NEW, Outcome.PASS, Point.POD)
    assert (str(begun.source), begun.source_port) == (POD, 40000)
    assert (str(begun.destination), begun.destination_port) == (OTHER_POD, 80)
    assert (begun.source_identity, begun.destination_identity) == (WEB, DATABASE)
    assert begun.flags == FROM_POD | TO_POD
    assert begun.tcp_flags == SYN


def test_closed_has_the_counts_of_both_ways(node: Policed) -> None:
    one = len(segment(POD, 40000, OTHER_POD, 80, ACK))
    for flags in (SYN, ACK, ACK, ACK | FIN):
        node.outcome(segment(POD, 40000, OTHER_POD, 80, flags))
    for flags in (SYN | ACK, ACK | FIN):
        node.outcome(segment(OTHER_POD, 80, POD, 40000, flags))
    assert kinds(node) == [NEW]
    node.outcome(segment(POD, 40000, OTHER_POD, 80, ACK))
    (ended,) = told(node)
    assert (ended.packets, ended.packets_back) == (5, 2)
    assert (ended.octets, ended.octets_back) == (5 * one, 2 * one)
    assert (str(ended.source), ended.source_port) == (POD, 40000)
    assert (str(ended.destination), ended.destination_port) == (OTHER_POD, 80)
    assert ended.flags == 0
    node.outcome(segment(POD, 40000, OTHER_POD, 80, ACK))
    assert kinds(node) == []


def test_a_reset_closes_at_once_and_once(node: Policed) -> None:
    node.outcome(segment(POD, 40000, OTHER_POD, 80))
    node.outcome(segment(OTHER_POD, 80, POD, 40000, RST | ACK))
    node.outcome(segment(OTHER_POD, 80, POD, 40000, RST | ACK))
    begun, ended = told(node)
    assert (begun.kind, ended.kind) == (NEW, CLOSED)
    assert ended.flags == EventFlag.RESET
    assert (ended.packets, ended.packets_back) == (1, 1)


def test_a_port_used_again_is_another_connection(node: Policed) -> None:
    node.outcome(segment(POD, 40000, OTHER_POD, 80))
    node.outcome(segment(POD, 40000, OTHER_POD, 80, ACK | FIN))
    node.outcome(segment(POD, 40000, OTHER_POD, 80))
    assert kinds(node) == [NEW, CLOSED, NEW]


@pytest.mark.parametrize("policies", [(), (WEB,)])
@pytest.mark.parametrize(
    ("send", "program", "point", "flags"),
    [
        (segment(CLIENT, 40000, POD, 80), UPLINK_IN, Point.UPLINK, TO_POD),
        (segment(NODE, 40000, POD, 80), EGRESS, Point.HOST, TO_POD),
        (segment(POD, 40000, CLIENT, 80), "pod_ingress", Point.POD, FROM_POD),
        (segment(POD, 40000, REMOTE_POD, 80), "pod_ingress", Point.POD, FROM_POD),
        (datagram(POD, 40000, CLIENT, 53), "pod_ingress", Point.POD, FROM_POD),
        (frame(packets.icmp(8), POD, CLIENT, 1), "pod_ingress", Point.POD, FROM_POD),
    ],
)
def test_every_way_in_and_out_of_a_pod_is_told_once(
    node: Policed,
    policies: tuple[int, ...],
    send: bytes,
    program: str,
    point: Point,
    flags: EventFlag,
) -> None:
    open_to_all = DirectionPolicy(Table(ALLOW))
    node.apply(*(SubjectPolicy(who, open_to_all, open_to_all) for who in policies))
    for _ in range(3):
        assert node.node.run(send, program).verdict != trial.DROP
    (event,) = told(node)
    assert (event.kind, event.point, event.flags) == (NEW, point, flags)
    assert event.length == len(send)
    assert (event.rule != 0) == bool(policies and program != EGRESS)


def test_without_the_flag_there_is_nothing() -> None:
    with policed() as silent:
        for flags in (SYN, ACK, RST):
            silent.outcome(segment(POD, 40000, OTHER_POD, 80, flags))
            silent.outcome(segment(CLIENT, 40000, VIP, trial.LOCAL_PORT, flags), UPLINK_IN)
        assert kinds(silent) == []
        assert silent.flows() == {}


def test_a_connection_that_stood_is_told_with_doubt(node: Policed) -> None:
    node.outcome(segment(POD, 40000, OTHER_POD, 40001, ACK))
    node.outcome(segment(OTHER_POD, 80, POD, 40000, ACK))
    either, answer = told(node)
    assert either.flags == FROM_POD | TO_POD | EventFlag.REPLY_UNKNOWN
    assert answer.flags == FROM_POD | TO_POD | REPLY
    # A policy that comes judges it by what it can find out, not by who was seen first.
    node.apply(SubjectPolicy(WEB, egress=NOBODY))
    assert node.outcome(segment(POD, 40000, OTHER_POD, 40001, ACK)) == Outcome.TO_POD


def test_a_policy_that_comes_knows_who_opened_what_stands(node: Policed) -> None:
    node.outcome(segment(OTHER_POD, 50000, POD, 50001))
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    dropped = node.outcome(segment(POD, 50001, OTHER_POD, 50000, ACK))
    assert dropped == Outcome.DROP_POLICY_DEFAULT
    begun, drop = told(node)
    assert (begun.kind, drop.kind) == (NEW, DROP)
    assert drop.flags == FROM_POD | TO_POD | REPLY
    assert (drop.source_identity, drop.destination_identity) == (WEB, DATABASE)
    assert str(node.rules.ref(drop.rule)) == str(DEFAULT.rule)


def test_a_drop_by_policy_names_both_ends(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(SHUT)))
    node.outcome(segment(CLIENT, 40000, POD, 80), UPLINK_IN)
    (drop,) = told(node)
    assert (drop.kind, drop.verdict) == (DROP, Outcome.DROP_POLICY_DEFAULT)
    assert (drop.source_identity, drop.destination_identity) == (STRANGER, WEB)
    assert drop.flags == TO_POD
    assert node.flows() == {}


def test_a_dropped_ping_has_type_and_code(node: Policed) -> None:
    node.node.run(frame(packets.icmp(13, 0), CLIENT, VIP, 1), UPLINK_IN)
    (drop,) = told(node)
    assert (drop.verdict, drop.icmp_type, drop.icmp_code) == (Outcome.DROP_ICMP_TYPE, 13, 0)
    assert drop.flags == EventFlag.REPLY_UNKNOWN


def test_a_service_is_translated_and_its_pod_reached(node: Policed) -> None:
    for flags in (SYN, ACK):
        node.outcome(segment(CLIENT, 40000, VIP, trial.LOCAL_PORT, flags), UPLINK_IN)
    translated, begun = told(node)
    assert (translated.kind, translated.verdict) == (EventKind.TRANSLATED, Outcome.TO_BACKEND)
    assert (str(translated.destination), translated.destination_port) == (VIP, trial.LOCAL_PORT)
    assert (str(translated.translated), translated.translated_port) == (POD, 8080)
    assert (begun.kind, str(begun.destination), begun.destination_port) == (NEW, POD, 8080)
    assert begun.flags == TO_POD


def test_a_hand_over_names_the_node(node: Policed) -> None:
    for flags in (SYN, ACK):
        node.outcome(segment(CLIENT, 40000, VIP, trial.REMOTE_PORT, flags), UPLINK_IN)
    (event,) = told(node)
    assert (event.kind, event.verdict) == (EventKind.HANDED_OVER, Outcome.HANDED_OVER)
    assert (str(event.destination), str(event.translated)) == (VIP, trial.PEER_ADDRESS)


def test_a_connection_to_a_proxy_is_told_as_that(node: Policed) -> None:
    proxied = Table(
        Verdict(PolicyAction.PROXY, ALLOW.rule, Redirect(http=(HttpRule(method="GET"),)))
    )
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(proxied)))
    node.outcome(segment(CLIENT, 40000, POD, 80), UPLINK_IN)
    found = told(node)
    # Nobody listens here, so the packet is dropped as well; the connection was given away before.
    assert [event.kind for event in found] == [EventKind.REDIRECTED, DROP]
    assert found[0].translated_port == PROXY_PORT
    assert found[1].verdict == Outcome.DROP_PROXY_GONE


def test_an_audit_is_told_once_for_a_connection(node: Policed) -> None:
    audited = Verdict(PolicyAction.ALLOW, None, audit=(PolicyAction.DEFAULT_DENY, AUDITING))
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(Table(audited))))
    for flags in (SYN, ACK):
        node.outcome(segment(CLIENT, 40000, POD, 80, flags), UPLINK_IN)
    begun, audit = told(node)
    assert (begun.kind, audit.kind) == (NEW, EventKind.AUDITED)
    assert audit.verdict == Outcome.AUDITED
    assert node.rules.ref(audit.rule) == AUDITING


def test_what_goes_silent_is_told_by_the_sweeper_once(node: Policed) -> None:
    node.outcome(datagram(POD, 40000, OTHER_POD, 53))
    node.outcome(datagram(OTHER_POD, 53, POD, 40000))
    node.outcome(frame(packets.icmp(8), OTHER_POD, POD, 1))
    node.outcome(segment(POD, 40000, OTHER_POD, 80))
    node.outcome(segment(OTHER_POD, 80, POD, 40000, RST))
    assert kinds(node) == [NEW, NEW, NEW, CLOSED]
    found: list[np.ndarray[tuple[int], np.dtype[np.void]]] = []
    table = node.node.maps["policy_flows"]
    done = sweep_flows(table, A_YEAR_NS, found.append)
    assert (done.removed, node.flows()) == (3, {})
    events = {int(row["protocol"]): row for rows in found for row in rows}
    assert sorted(events) == [packets.ICMP, packets.UDP]  # TCP has been told
    asked = events[packets.UDP]
    assert str(read_address(bytes(asked["source"]))) == POD
    assert (asked["source_port"], asked["destination_port"]) == (40000, 53)
    assert (asked["packets"], asked["packets_back"]) == (1, 1)
    ping = events[packets.ICMP]
    assert str(read_address(bytes(ping["source"]))) == OTHER_POD
    assert (ping["source_port"], ping["icmp_type"], ping["kind"]) == (0, 8, CLOSED)


def test_xdp_tells_of_what_it_hands_over() -> None:
    with trial.loaded(ConfigFlag.EVENTS) as node, beside(node, events=True) as xdp:
        ring = Ring(node.maps["events"], EVENT)
        assert xdp.run(trial.request(trial.REMOTE_PORT)).verdict == TX
        assert xdp.run(trial.request(trial.REMOTE_PORT, flags=ACK)).verdict == TX
        found = ring.drain()
    assert found["kind"].tolist() == [EventKind.HANDED_OVER]
    assert found["point"].tolist() == [Point.XDP]


def test_more_than_the_budget_is_counted_in_the_next() -> None:
    octets = bytes.fromhex("45000fff") + bytes(16)
    truncated = packets.ethernet(octets, source=trial.ROUTER, destination=trial.UPLINK)
    here = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(here)})
    try:
        with trial.loaded(drop_events=5, interval_ns=400_000_000) as node:
            ring = Ring(node.maps["events"], EVENT)
            began = time.monotonic()
            node.run(truncated, repeat=1000)
            assert time.monotonic() - began < 0.4, "the machine was too slow to tell"
            first, runs = ring.drain(), 1000
            assert (len(first), int(first["suppressed"].sum())) == (5, 0)
            while not len(following := ring.drain()):
                node.run(truncated)
                runs += 1
    finally:
        os.sched_setaffinity(0, here)
    assert (len(following), int(following["suppressed"][0])) == (1, runs - 6)


def test_connections_do_not_use_the_budget_of_drops() -> None:
    flags = ConfigFlag.EVENTS
    with trial.loaded(flags, drop_events=1, connection_events=1, interval_ns=10**15) as node:
        ring = Ring(node.maps["events"], EVENT)
        for port in (trial.REMOTE_PORT, trial.EMPTY_PORT, trial.LOCAL_PORT, trial.BROKEN_PORT):
            node.run(trial.request(port), repeat=1)
        assert sorted(ring.drain()["kind"].tolist()) == sorted(
            [EventKind.HANDED_OVER, DROP, EventKind.TRANSLATED, NEW, DROP]
        )


def test_what_the_ring_has_no_room_for_is_counted_as_lost() -> None:
    sizes = {**trial.SIZES, "events": 4096}
    with trial.loaded(ConfigFlag.EVENTS, sizes=sizes) as node:
        ring = Ring(node.maps["events"], EVENT)
        for number in range(100):
            node.run(trial.request(trial.LOCAL_PORT, source_port=40000 + number))
        kept = len(ring.drain())
        lost = node.counted()[Point.UPLINK, Outcome.EVENT_LOST]
    assert 0 < kept < 200  # TRANSLATED and NEW of each
    assert kept + lost == 200
