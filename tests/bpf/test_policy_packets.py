"""What becomes of single packets under policies: trial runs of the kernel's programs."""

import struct
from collections.abc import Iterator

import packets
import pytest
import trial
from packets import ACK, FIN, RST, SCTP, SYN, UDP
from policy_trial import (
    ALLOW,
    DATABASE,
    DEFAULT,
    DENY,
    HOST,
    NOBODY,
    OPEN,
    SHUT,
    STRANGER,
    WEB,
    Policed,
    datagram,
    frame,
    opener,
    policed,
    ports,
    segment,
)
from trial import CLIENT, NODE, OTHER_POD, POD, REMOTE_POD

from cairn.abi.verdicts import Verdict as Outcome
from cairn.desired.policy import DirectionPolicy, SubjectPolicy, Table

pytestmark = pytest.mark.bpf

PASS, TO_POD, TO_BACKEND = Outcome.PASS, Outcome.TO_POD, Outcome.TO_BACKEND
DENIED, UNALLOWED = Outcome.DROP_POLICY_DENIED, Outcome.DROP_POLICY_DEFAULT
PENDING = Outcome.DROP_POLICY_PENDING
TO_WEB_80 = DirectionPolicy(SHUT, {STRANGER: ports((80, 80)), DATABASE: ports((80, 80))})


@pytest.fixture
def node() -> Iterator[Policed]:
    with policed() as made:
        yield made


def test_a_pod_without_policy_is_not_tracked(node: Policed) -> None:
    assert node.outcome(segment(POD, 40000, OTHER_POD, 80)) == TO_POD
    assert node.outcome(segment(CLIENT, 40000, POD, 80), "uplink_ingress") == TO_POD
    assert node.flows() == {}


def test_a_closed_pod_has_no_traffic_at_all(node: Policed) -> None:
    node.close(POD)
    assert node.outcome(segment(POD, 40000, CLIENT, 80)) == PENDING
    assert node.outcome(segment(OTHER_POD, 40000, POD, 80)) == PENDING
    assert node.outcome(segment(CLIENT, 40000, POD, 80), "uplink_ingress") == PENDING
    assert node.outcome(segment(NODE, 40000, POD, 80), "pod_egress") == PENDING
    to_vip = segment(CLIENT, 40000, trial.VIP, trial.LOCAL_PORT)
    assert node.outcome(to_vip, "uplink_ingress") == PENDING


def test_ingress_is_judged_by_peer_and_port(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=TO_WEB_80))
    assert node.outcome(segment(CLIENT, 40000, POD, 80), "uplink_ingress") == TO_POD
    assert node.outcome(segment(CLIENT, 40000, POD, 81), "uplink_ingress") == UNALLOWED
    assert node.outcome(segment(REMOTE_POD, 40000, POD, 80), "uplink_ingress") == UNALLOWED
    assert node.outcome(segment(OTHER_POD, 40000, POD, 80)) == TO_POD
    assert node.outcome(segment(OTHER_POD, 40000, POD, 443)) == UNALLOWED
    assert node.outcome(segment(POD, 40000, REMOTE_POD, 443)) == Outcome.TO_NODE


def test_egress_is_judged_by_peer_and_port(node: Policed) -> None:
    policy = DirectionPolicy(SHUT, {DATABASE: ports((5432, 5432)), STRANGER: Table(DENY)})
    node.apply(SubjectPolicy(WEB, egress=policy))
    assert node.outcome(segment(POD, 40000, OTHER_POD, 5432)) == TO_POD
    assert node.outcome(segment(POD, 40000, OTHER_POD, 5433)) == UNALLOWED
    assert node.outcome(segment(POD, 40000, CLIENT, 80)) == DENIED
    assert node.outcome(segment(CLIENT, 40000, POD, 80), "uplink_ingress") == TO_POD


def test_both_ends_of_a_connection_must_allow_it(node: Policed) -> None:
    node.apply(
        SubjectPolicy(WEB, egress=DirectionPolicy(OPEN)),
        SubjectPolicy(DATABASE, ingress=DirectionPolicy(Table(DENY), {WEB: ports((5432, 5432))})),
    )
    assert node.outcome(segment(POD, 40000, OTHER_POD, 5432)) == TO_POD
    assert node.outcome(segment(POD, 40000, OTHER_POD, 80)) == UNALLOWED
    assert node.outcome(segment(CLIENT, 40000, OTHER_POD, 80), "uplink_ingress") == DENIED


def test_answers_go_with_their_connection(node: Policed) -> None:
    both = SubjectPolicy(WEB, ingress=TO_WEB_80, egress=DirectionPolicy(SHUT, {9: OPEN}))
    node.apply(both)
    assert node.outcome(segment(CLIENT, 40000, POD, 80), "uplink_ingress") == TO_POD
    assert node.outcome(segment(POD, 80, CLIENT, 40000, SYN | ACK)) == PASS
    assert node.outcome(segment(POD, 81, CLIENT, 40000, SYN | ACK)) == UNALLOWED
    assert node.outcome(datagram(POD, 50000, "203.0.113.8", 53)) == PASS
    assert node.outcome(datagram("203.0.113.8", 53, POD, 50000), "uplink_ingress") == TO_POD
    assert node.outcome(datagram("203.0.113.8", 53, POD, 50001), "uplink_ingress") == UNALLOWED


def test_a_change_reaches_connections_that_stand(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=TO_WEB_80))
    assert node.outcome(segment(CLIENT, 40000, POD, 80), "uplink_ingress") == TO_POD
    assert node.outcome(segment(POD, 80, CLIENT, 40000, ACK)) == PASS
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    assert node.outcome(segment(CLIENT, 40000, POD, 80, ACK), "uplink_ingress") == UNALLOWED
    assert node.outcome(segment(POD, 80, CLIENT, 40000, ACK)) == UNALLOWED
    node.apply(SubjectPolicy(WEB, ingress=TO_WEB_80))
    assert node.outcome(segment(CLIENT, 40000, POD, 80, ACK), "uplink_ingress") == TO_POD
    assert node.counters(ALLOW).allowed == 1


@pytest.mark.parametrize("first", ["client", "pod"])
def test_a_first_policy_reaches_connections_that_stand(node: Policed, first: str) -> None:
    """Nobody has seen who opened them; ports tell: the pod may open any connection itself."""
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    to, back = segment(CLIENT, 40000, POD, 80, ACK), segment(POD, 80, CLIENT, 40000, ACK)
    for sender in (first, "client", "pod"):
        program = "uplink_ingress" if sender == "client" else "pod_ingress"
        assert node.outcome(to if sender == "client" else back, program) == UNALLOWED


def test_a_first_policy_leaves_what_it_allows(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    answer = segment(CLIENT, 80, POD, 40000, ACK)
    assert node.outcome(answer, "uplink_ingress") == TO_POD
    assert node.outcome(segment(POD, 40000, CLIENT, 80, ACK)) == PASS
    assert opener(node.flows()) == [POD]


def test_datagrams_are_not_taken_for_answers(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    assert node.outcome(datagram(CLIENT, 53, POD, 40000), "uplink_ingress") == UNALLOWED


def test_a_port_used_again_is_a_new_connection(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=TO_WEB_80))
    for flags in (SYN, ACK, FIN | ACK, SYN, ACK, RST, SYN):
        frame_in = segment(CLIENT, 40000, POD, 80, flags)
        assert node.outcome(frame_in, "uplink_ingress") == TO_POD
    assert node.counters(ALLOW).allowed == 3
    (flow,) = node.flows().values()
    assert flow.packets == 1


def test_who_answers_may_not_open(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    assert node.outcome(segment(POD, 40000, CLIENT, 80)) == PASS
    assert node.outcome(segment(CLIENT, 80, POD, 40000, SYN | ACK), "uplink_ingress") == TO_POD
    assert node.outcome(segment(CLIENT, 80, POD, 40000, SYN), "uplink_ingress") == UNALLOWED


def test_an_answer_comes_in_time(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    answer = datagram(CLIENT, 53, POD, 50000)
    assert node.outcome(datagram(POD, 50000, CLIENT, 53)) == PASS
    assert node.outcome(answer, "uplink_ingress") == TO_POD
    ((key, value),) = node.node.maps["policy_flows"].items()
    node.node.maps["policy_flows"].update(key, value[:8] + bytes(8) + value[16:])
    assert node.outcome(answer, "uplink_ingress") == UNALLOWED


def test_flows_count_both_ways(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=TO_WEB_80))
    to, back = segment(CLIENT, 40000, POD, 80), segment(POD, 80, CLIENT, 40000, SYN | ACK)
    for _ in range(3):
        node.outcome(to, "uplink_ingress")
    node.outcome(back)
    ((key, flow),) = node.flows().items()
    assert (str(key.low), key.low_port, str(key.high), key.high_port) == (POD, 80, CLIENT, 40000)
    assert (flow.packets, flow.packets_back) == (3, 1)
    assert (flow.octets, flow.octets_back) == (3 * len(to), len(back))
    assert opener(node.flows()) == [CLIENT]


def test_policy_speaks_of_the_backend_not_of_the_service(node: Policed) -> None:
    """The client is allowed at the pod's port, which the service's is not."""
    to_vip = segment(CLIENT, 40000, trial.VIP, trial.LOCAL_PORT)
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(SHUT, {STRANGER: ports((80, 80))})))
    assert node.outcome(to_vip, "uplink_ingress") == UNALLOWED
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(SHUT, {STRANGER: ports((8080, 8080))})))
    assert node.outcome(to_vip, "uplink_ingress") == TO_BACKEND
    assert node.outcome(segment(POD, 8080, CLIENT, 40000, SYN | ACK)) == Outcome.REPLY
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    assert node.outcome(segment(POD, 8080, CLIENT, 40000, ACK)) == UNALLOWED


@pytest.mark.parametrize("protocol", [packets.GRE, SCTP])
def test_other_protocols(node: Policed, protocol: int) -> None:
    payload = struct.pack("!HHII", 40000, 80, 0, 0)
    inside = frame(payload, CLIENT, POD, protocol)
    back = frame(struct.pack("!HHII", 80, 40000, 0, 0), POD, CLIENT, protocol)
    node.apply(SubjectPolicy(WEB, ingress=TO_WEB_80, egress=NOBODY))
    assert node.outcome(inside, "uplink_ingress") == UNALLOWED
    port = 80 if protocol == SCTP else 0
    allowed = ports((port, port), protocol=protocol)
    node.apply(
        SubjectPolicy(WEB, ingress=DirectionPolicy(SHUT, {STRANGER: allowed}), egress=NOBODY)
    )
    assert node.outcome(inside, "uplink_ingress") == TO_POD
    assert node.outcome(back) == PASS


def test_later_fragments_follow_the_first(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, egress=DirectionPolicy(SHUT, {9: ports((53, 53), protocol=UDP)})))
    for port, expected in ((53, PASS), (54, UNALLOWED)):
        whole = packets.udp((POD, 40000), ("203.0.113.8", port), bytes(64))
        for offset, piece in ((0x2000, whole[:32]), (4, whole[32:])):
            packet = packets.ip4(
                piece, source=POD, destination="203.0.113.8", protocol=UDP, fragment=offset,
                identity=port,
            )  # fmt: skip
            assert node.outcome(trial.sent_by_pod(packet)) == expected
    lost = packets.ip4(
        b"x" * 32, source=POD, destination=CLIENT, protocol=UDP, fragment=4, identity=99
    )
    assert node.outcome(trial.sent_by_pod(lost)) == Outcome.DROP_FRAGMENT


def test_drops_and_connections_are_counted_at_their_rule(node: Policed) -> None:
    policy = DirectionPolicy(SHUT, {STRANGER: ports((80, 80)), DATABASE: Table(DENY)})
    node.apply(SubjectPolicy(WEB, ingress=policy))
    for _ in range(3):
        node.outcome(segment(CLIENT, 40000, POD, 80), "uplink_ingress")
        node.outcome(segment(CLIENT, 40000, POD, 81), "uplink_ingress")
        node.outcome(segment(OTHER_POD, 40000, POD, 81))
    assert (node.counters(ALLOW).allowed, node.counters(ALLOW).denied) == (1, 0)
    assert (node.counters(DEFAULT).allowed, node.counters(DEFAULT).denied) == (0, 3)
    assert (node.counters(DENY).allowed, node.counters(DENY).denied) == (0, 3)
    assert set(node.events()) == {(UNALLOWED, str(DEFAULT.rule)), (DENIED, str(DENY.rule))}


def test_the_node_reaches_its_own_pods(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=NOBODY, egress=NOBODY))
    probe = segment(NODE, 40000, POD, 8080)
    assert node.outcome(probe, "pod_egress") is None
    assert node.outcome(segment(POD, 8080, NODE, 40000, SYN | ACK)) == PASS
    assert node.outcome(datagram(NODE, 40000, POD, 53), "pod_egress") is None
    assert node.outcome(datagram(POD, 53, NODE, 40000)) == PASS
    assert node.outcome(datagram(POD, 54, NODE, 40000)) == UNALLOWED
    assert node.outcome(segment(NODE, 40000, POD, 8081), "uplink_ingress") == UNALLOWED
    assert node.outcome(probe[:36] + b"\x9c\x41" + probe[38:], "pod_egress", came_by=1) == UNALLOWED


def test_what_the_node_forwards_is_judged(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    assert node.outcome(segment(POD, 40000, CLIENT, 80)) == PASS
    back = segment(CLIENT, 80, POD, 40000, SYN | ACK)
    assert node.outcome(back, "pod_egress", came_by=1) is None
    other = segment(CLIENT, 81, POD, 80, SYN)
    assert node.outcome(other, "pod_egress", came_by=1) == UNALLOWED


def test_an_unknown_pod_gets_nothing_that_is_forwarded(node: Policed) -> None:
    to = segment(CLIENT, 81, "10.244.1.77", 80, SYN)
    assert node.outcome(to, "pod_egress", came_by=1) == PENDING
    assert node.outcome(to, "pod_egress") is None


def test_policies_about_the_node(node: Policed) -> None:
    allowed = DirectionPolicy(SHUT, {STRANGER: ports((22, 22)), WEB: ports((53, 53))})
    node.apply(SubjectPolicy(HOST, ingress=allowed))
    assert node.outcome(segment(CLIENT, 40000, NODE, 22), "uplink_ingress") == PASS
    assert node.outcome(segment(CLIENT, 40000, NODE, 23), "uplink_ingress") == UNALLOWED
    assert node.outcome(segment(POD, 40000, NODE, 53)) == PASS
    assert node.outcome(segment(POD, 40000, NODE, 54)) == UNALLOWED
    assert node.outcome(segment(CLIENT, 40000, POD, 23), "uplink_ingress") == TO_POD
    assert node.outcome(segment(NODE, 40000, CLIENT, 443), "uplink_egress") is None
    back = segment(CLIENT, 443, NODE, 40000, SYN | ACK)
    assert node.outcome(back, "uplink_ingress") == PASS
    assert node.outcome(segment(NODE, 22, CLIENT, 40000, SYN | ACK), "uplink_egress") is None


def test_policies_about_what_the_node_sends(node: Policed) -> None:
    node.apply(SubjectPolicy(HOST, egress=DirectionPolicy(SHUT, {STRANGER: ports((443, 443))})))
    assert node.outcome(segment(NODE, 40000, CLIENT, 443), "uplink_egress") is None
    assert node.outcome(segment(NODE, 40000, CLIENT, 80), "uplink_egress") == UNALLOWED
    assert node.outcome(segment(NODE, 40000, POD, 80), "pod_egress") is None
    assert node.outcome(segment(CLIENT, 40000, NODE, 22), "uplink_ingress") == PASS
    assert node.outcome(segment(NODE, 22, CLIENT, 40000, SYN | ACK), "uplink_egress") is None
    proxy = segment(NODE, 40001, CLIENT, 80)
    assert node.outcome(proxy, "uplink_egress", mark=0x300) is None
