"""Limits of policies on new traffic, as the XDP program keeps them."""

import struct
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
import trial
import xdp_trial
from packets import ACK, TCP, UDP
from trial import REMOTE_PORT
from xdp_trial import DROP, PASS, TX, XdpTrial, frame

from cairn.abi.structs import PolicyRate, Prefix, RateAt, RateFlag, RevisionFlag
from cairn.abi.verdicts import Verdict

pytestmark = pytest.mark.bpf

BOTH = pytest.mark.parametrize("version", [4, 6])
VIPS = {4: trial.VIP, 6: trial.VIP6}
PODS = {4: trial.POD, 6: trial.POD6}
OTHERS = {4: "198.18.0.1", 6: "2001:db8:8::1"}
RULE, FRIENDS = 77, 300
ONE_FOR_ALL, SOME = RateFlag.TOTAL, RateFlag.BY_REMOTE


@pytest.fixture
def node() -> Iterator[XdpTrial]:
    with trial.loaded() as made, xdp_trial.beside(made) as both:
        yield both


def limit(
    node: XdpTrial,
    address: str,
    per_second: int,
    *,
    burst: int = 0,
    flags: RateFlag = RateFlag(0),  # noqa: B008
    remote: int = 0,
    port: int = REMOTE_PORT,
) -> None:
    for protocol in (TCP, UDP):
        at = RateAt(ip_address(address), remote, port, protocol)
        rate = PolicyRate(RULE, per_second, burst or per_second, flags)
        node.maps["policy_rates"].update(at.write(), rate.write())
    node.change(RevisionFlag.POLICY_RATES)


def opened(node: XdpTrial, version: int, many: int = 20, **how: str | int | bytes) -> list[int]:
    """Return what became of new connections, each from a port of its own."""
    return [
        node.run(frame(REMOTE_PORT, version=version, source_port=41000 + n, **how)).verdict  # type: ignore[arg-type]
        for n in range(many)
    ]


@BOTH
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_source_opens_its_burst_and_no_more_at_once(
    node: XdpTrial, version: int, protocol: int
) -> None:
    limit(node, VIPS[version], 2, burst=6)
    verdicts = opened(node, version, protocol=protocol)
    assert verdicts[:6] == [TX] * 6
    assert verdicts.count(DROP) >= 13
    run, verdict = node.judged(frame(REMOTE_PORT, version=version, protocol=protocol))
    assert (run.verdict, verdict) == (DROP, Verdict.DROP_POLICY_RATE)
    assert opened(node, version, 6, protocol=protocol, source=OTHERS[version]) == [TX] * 6


def test_what_goes_on_over_a_connection_is_not_counted(node: XdpTrial) -> None:
    limit(node, trial.VIP, 1)
    assert opened(node, 4, 1) == [TX]
    middle = frame(REMOTE_PORT, source_port=41000, flags=ACK)
    assert [node.run(middle).verdict for _ in range(20)] == [TX] * 20


@BOTH
def test_datagrams_of_one_flow_are_counted_each(node: XdpTrial, version: int) -> None:
    limit(node, VIPS[version], 5)
    same = frame(REMOTE_PORT, version=version, protocol=UDP)
    verdicts = [node.run(same).verdict for _ in range(20)]
    assert verdicts[:5] == [TX] * 5
    assert verdicts.count(DROP) >= 14


@BOTH
def test_a_pod_is_limited_where_packets_for_it_arrive(node: XdpTrial, version: int) -> None:
    limit(node, PODS[version], 3)
    verdicts = opened(node, version, to=PODS[version])
    assert verdicts[:3] == [PASS] * 3
    assert verdicts.count(DROP) >= 16


def test_a_total_limit_is_one_budget_for_all_sources(node: XdpTrial) -> None:
    limit(node, trial.VIP, 4, flags=ONE_FOR_ALL)
    assert opened(node, 4, 4) == [TX] * 4
    assert opened(node, 4, 3, source=OTHERS[4]) == [DROP] * 3


def test_the_addresses_of_one_ipv6_subnet_share_a_budget(node: XdpTrial) -> None:
    limit(node, trial.VIP6, 1)
    assert opened(node, 6, 1, source="2001:db8:9::1") == [TX]
    assert opened(node, 6, 1, source="2001:db8:9::ffff:2") == [DROP]
    assert opened(node, 6, 1, source="2001:db8:9:1::1") == [TX]


@pytest.mark.parametrize(("common", "others"), [(0, [TX] * 3), (1, [TX, DROP, DROP])])
def test_an_identity_may_have_a_limit_of_its_own(
    node: XdpTrial, common: int, others: list[int]
) -> None:
    host = Prefix(128, ip_address(trial.CLIENT)).write()
    node.maps["identities"].update(host, struct.pack("<I", FRIENDS))
    limit(node, trial.VIP, common, flags=SOME)
    limit(node, trial.VIP, 2, remote=FRIENDS)
    assert opened(node, 4, 3) == [TX, TX, DROP]
    assert opened(node, 4, 3, source=OTHERS[4]) == others


def test_what_a_peer_handed_over_counts_here_too(node: XdpTrial) -> None:
    limit(node, trial.VIP, 1)
    assert opened(node, 4, 3, mac=trial.PEER) == [PASS, DROP, DROP]


def test_a_drop_makes_no_connection(node: XdpTrial) -> None:
    limit(node, trial.VIP, 1)
    opened(node, 4)
    assert node.connections() == 1
