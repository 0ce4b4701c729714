"""ICMP, IPv6 and neighbours under policies: trial runs."""

import struct
from collections.abc import Iterator

import packets
import pytest
import trial
from packets import ACK, ICMP, ICMP6, SYN, UDP
from policy_trial import (
    ALLOW,
    DEFAULT,
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
from trial import CLIENT, CLIENT6, NODE, NODE6, OTHER_POD6, POD, POD6

from cairn.abi.verdicts import Verdict as Outcome
from cairn.desired.policy import DirectionPolicy, SubjectPolicy

pytestmark = pytest.mark.bpf

PASS, TO_POD = Outcome.PASS, Outcome.TO_POD
UNALLOWED = Outcome.DROP_POLICY_DEFAULT
ECHO, ECHO_REPLY, TIMESTAMP = 8, 0, 13
ROUTER = "198.18.0.1"
LINK_LOCAL = "fe80::1"


@pytest.fixture
def node() -> Iterator[Policed]:
    with policed() as made:
        yield made


def echo(source: str, destination: str, kind: int, identifier: int = 1) -> bytes:
    """Return an ICMP message with an identifier."""
    rest = struct.pack("!HH", identifier, 1) + b"ping"
    if ":" in source:
        return frame(
            packets.icmp6(source, destination, kind, rest=rest), source, destination, ICMP6
        )
    return frame(packets.icmp(kind, rest=rest), source, destination, ICMP)


def error(source: str, about: bytes) -> bytes:
    """Return "fragmentation needed", or "too big", about a frame, to who sent it."""
    quoted = about[14:]
    if quoted[0] >> 4 == 6:
        sender = packets.read(about).source
        text = packets.icmp6(source, sender, 2, rest=struct.pack("!I", 1280) + quoted[:48])
        return frame(text, source, sender, ICMP6)
    text = packets.icmp(3, 4, struct.pack("!HH", 0, 1280) + quoted[:28])
    return frame(text, source, packets.read(about).source, ICMP)


def test_an_echo_is_answered(node: Policed) -> None:
    allowed = ports((ECHO << 8, ECHO << 8), protocol=ICMP)
    node.apply(
        SubjectPolicy(WEB, ingress=DirectionPolicy(SHUT, {STRANGER: allowed}), egress=NOBODY)
    )
    assert node.outcome(echo(CLIENT, POD, ECHO, 7), "uplink_ingress") == TO_POD
    assert node.outcome(echo(POD, CLIENT, ECHO_REPLY, 7)) == PASS
    assert node.outcome(echo(POD, CLIENT, ECHO_REPLY, 8)) == UNALLOWED
    assert node.outcome(echo(POD, CLIENT, ECHO, 9)) == UNALLOWED
    assert node.outcome(echo(CLIENT, POD, TIMESTAMP, 7), "uplink_ingress") == UNALLOWED


def test_other_messages_are_judged_one_by_one(node: Policed) -> None:
    allowed = ports((TIMESTAMP << 8, TIMESTAMP << 8), protocol=ICMP)
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(SHUT, {STRANGER: allowed})))
    assert node.outcome(echo(CLIENT, POD, TIMESTAMP), "uplink_ingress") == TO_POD
    assert node.outcome(echo(CLIENT, POD, 15), "uplink_ingress") == UNALLOWED
    assert node.flows() == {}


@pytest.mark.parametrize(("pod", "client"), [(POD, CLIENT), (POD6, CLIENT6)])
def test_an_error_follows_the_connection_that_it_quotes(
    node: Policed, pod: str, client: str
) -> None:
    router = ROUTER if "." in pod else "2001:db8::1"
    to_web = DirectionPolicy(SHUT, {STRANGER: ports((80, 80)), 10: ports((80, 80))})
    node.apply(SubjectPolicy(WEB, ingress=to_web, egress=NOBODY))
    assert node.outcome(segment(client, 40000, pod, 80), "uplink_ingress") == TO_POD
    answer = segment(pod, 80, client, 40000, SYN | ACK)
    assert node.outcome(error(router, answer), "uplink_ingress") == TO_POD
    stray = segment(pod, 81, client, 40000, ACK)
    assert node.outcome(error(router, stray), "uplink_ingress") == UNALLOWED
    own = error(pod, segment(client, 40000, pod, 80, ACK))
    assert node.outcome(own) == PASS
    node.apply(SubjectPolicy(WEB, ingress=NOBODY, egress=NOBODY))
    assert node.outcome(error(router, answer), "uplink_ingress") == UNALLOWED


def test_an_error_about_a_service_follows_its_connection(node: Policed) -> None:
    allowed = DirectionPolicy(SHUT, {STRANGER: ports((8080, 8080))})
    node.apply(SubjectPolicy(WEB, ingress=allowed))
    to_vip = segment(CLIENT, 40000, trial.VIP, trial.LOCAL_PORT)
    assert node.outcome(to_vip, "uplink_ingress") == Outcome.TO_BACKEND
    about = error(ROUTER, segment(trial.VIP, trial.LOCAL_PORT, CLIENT, 40000, ACK))
    assert node.outcome(about, "uplink_ingress") == Outcome.TO_BACKEND
    node.apply(SubjectPolicy(WEB, ingress=NOBODY))
    assert node.outcome(about, "uplink_ingress") == UNALLOWED


def test_later_fragments_of_an_echo_follow_the_first(node: Policed) -> None:
    allowed = ports((ECHO << 8, ECHO << 8), protocol=ICMP)
    node.apply(
        SubjectPolicy(WEB, ingress=DirectionPolicy(SHUT, {STRANGER: allowed}), egress=NOBODY)
    )
    whole = packets.icmp(ECHO, rest=struct.pack("!HH", 5, 1) + bytes(60))
    for offset, piece in ((0x2000, whole[:32]), (4, whole[32:])):
        packet = packets.ip4(piece, source=CLIENT, destination=POD, protocol=ICMP, fragment=offset)
        assert node.outcome(trial.sent_by_pod(packet), "uplink_ingress") == TO_POD
    assert len(node.flows()) == 1


def test_ip6_is_judged_alike(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(SHUT, {10: ports((80, 80))})))
    assert node.outcome(segment(CLIENT6, 40000, POD6, 80), "uplink_ingress") == TO_POD
    assert node.outcome(segment(CLIENT6, 40000, POD6, 81), "uplink_ingress") == UNALLOWED
    assert node.outcome(segment(OTHER_POD6, 40000, POD6, 80)) == UNALLOWED
    assert node.outcome(segment(POD6, 80, CLIENT6, 40000, SYN | ACK)) == PASS
    assert node.outcome(segment(NODE6, 40000, POD6, 80), "pod_egress") is None
    assert opener(node.flows()) != []


def neighbour(source: str, destination: str, kind: int, ttl: int = 255) -> bytes:
    """Return a neighbour message."""
    text = packets.icmp6(source, destination, kind, rest=bytes(20))
    packet = packets.ip6(text, source=source, destination=destination, protocol=ICMP6, ttl=ttl)
    return trial.sent_by_pod(packet)


def test_neighbours_find_each_other_in_a_closed_pod(node: Policed) -> None:
    node.close(POD6)
    group = "ff02::1:ff00:1"
    assert node.outcome(neighbour(POD6, group, 135)) == PASS
    assert node.outcome(neighbour(POD6, LINK_LOCAL, 136)) == PASS
    assert node.outcome(neighbour(LINK_LOCAL, POD6, 136), "pod_egress") is None
    assert node.outcome(neighbour(NODE6, POD6, 135), "pod_egress") is None
    assert node.outcome(neighbour(POD6, OTHER_POD6, 136)) == Outcome.DROP_POLICY_PENDING
    assert node.outcome(neighbour(POD6, group, 135, ttl=64)) == Outcome.DROP_POLICY_PENDING


def test_a_group_is_a_remote_like_others(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, egress=NOBODY))
    assert node.outcome(datagram(POD, 5353, "224.0.0.251", 5353)) == UNALLOWED
    node.apply(SubjectPolicy(WEB, egress=DirectionPolicy(OPEN)))
    assert node.outcome(datagram(POD, 5353, "224.0.0.251", 5353)) == PASS
    assert node.counters(ALLOW).allowed == 1
    assert node.counters(DEFAULT).denied == 1


def test_the_node_pings_its_pods(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=NOBODY, egress=NOBODY))
    assert node.outcome(echo(NODE, POD, ECHO), "pod_egress") is None
    assert node.outcome(echo(POD, NODE, ECHO_REPLY)) == PASS
    assert node.outcome(error(NODE, datagram(POD, 4000, CLIENT, UDP)), "pod_egress") is None
