"""`cairn speaker` on three nodes towards each kind of router: sessions, ECMP, withdrawal."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from bgp_bed import (
    BOTH,
    NODES,
    NODES6,
    ROUTER,
    ROUTER6,
    VIP,
    VIP6,
    Bed,
    SpeakerProcess,
    speaker_config,
    timed,
    wait_for,
    watching,
)

from cairn.net import parse_address
from cairn.router.daemons import KINDS, RouterPlan, plan_router

SECOND = "203.0.113.2"


@pytest.fixture
def bed() -> Iterator[Bed]:
    with Bed() as bench:
        yield bench


def start_both_families(
    bed: Bed, kind: str, *, peer_networks: list[str], listen: list[str]
) -> list[SpeakerProcess]:
    bed.start_router(router_plan(bed, kind, peer_networks, listen))
    return [SpeakerProcess(bed, number) for number in range(3)]


def router_plan(bed: Bed, kind: str, peer_networks: list[str], listen: list[str]) -> RouterPlan:
    return plan_router(
        kind,
        directory=bed.directory / kind,
        asn=64512,
        router_id=ROUTER,
        peer_networks=peer_networks,
        listen=listen,
    )


def check_both_families(
    bed: Bed, kind: str, speakers: list[SpeakerProcess], addresses: tuple[str, ...]
) -> None:
    """Three next hops of each family in the kernel, and in the router's own tables."""
    with timed(f"{kind}: state to ECMP of three in both families"):
        wait_for("three IPv6 next hops", lambda: bed.gateways(VIP6) == sorted(NODES6))
        wait_for("three next hops", lambda: bed.gateways() == sorted(NODES))
    for speaker in speakers:
        assert speaker.peer()["counts"] == {
            "IPv4 unicast": {"received": 0, "announced": 1},
            "IPv6 unicast": {"received": 0, "announced": 1},
        }
    plan = router_plan(bed, kind, [], list(addresses[:1]))
    shown = bed.bgpctl(plan, "show", "summary" if kind == "openbgpd" else "neighbor")
    for address in addresses:
        (line,) = (line for line in shown.splitlines() if line.split()[:1] == [address])
        assert line.split()[-1] == "2", shown
    rib = bed.bgpctl(plan, "show", "rib")
    assert sum(f"{VIP6}/128" in line for line in rib.splitlines()) == 3, rib
    assert all(hop in rib for hop in NODES6), rib


@pytest.mark.parametrize("kind", KINDS)
def test_one_ipv4_session_a_node_makes_ecmp_routes_of_both_families(bed: Bed, kind: str) -> None:
    """RFC 4760, RFC 2545: IPv6 routes over IPv4, with the nodes' own IPv6 addresses."""
    speakers = start_both_families(bed, kind, peer_networks=["10.8.0.0/24"], listen=[ROUTER])
    dual = [f"{VIP}/32", f"{VIP6}/128"]
    for number, speaker in enumerate(speakers):
        speaker.apply(speaker_config(number, prefixes=dual, families=BOTH))
    check_both_families(bed, kind, speakers, NODES)
    speakers[0].apply(speaker_config(0, prefixes=dual[:1], families=BOTH))
    wait_for("two IPv6 next hops", lambda: bed.gateways(VIP6) == sorted(NODES6[1:]))
    assert bed.gateways() == sorted(NODES)


@pytest.mark.parametrize("kind", KINDS)
def test_one_ipv6_session_a_node_makes_ecmp_routes_of_both_families(bed: Bed, kind: str) -> None:
    speakers = start_both_families(bed, kind, peer_networks=["fd08::/64"], listen=[ROUTER6])
    dual = [f"{VIP}/32", f"{VIP6}/128"]
    router = parse_address(ROUTER6)
    for number, speaker in enumerate(speakers):
        config = speaker_config(number, prefixes=dual, families=BOTH, address=router)
        speaker.apply(config)
    check_both_families(bed, kind, speakers, NODES6)
    speakers[0].apply(speaker_config(0, prefixes=dual[1:], families=BOTH, address=router))
    wait_for("two IPv4 next hops", lambda: bed.gateways() == sorted(NODES[1:]))
    assert bed.gateways(VIP6) == sorted(NODES6)


@pytest.mark.parametrize("kind", KINDS)
def test_three_nodes_make_an_ecmp_route(bed: Bed, kind: str) -> None:
    plan = plan_router(
        kind,
        directory=bed.directory / kind,
        asn=64512,
        router_id=ROUTER,
        peer_networks=["10.8.0.0/24"],
        listen=[ROUTER],
    )
    bed.start_router(plan)
    speakers = [SpeakerProcess(bed, number) for number in range(3)]
    for number, speaker in enumerate(speakers):
        speaker.apply(speaker_config(number))
    with timed(f"{kind}: state to three sessions"):
        for speaker in speakers:
            speaker.wait_established()
    with timed(f"{kind}: sessions to ECMP of three"):
        wait_for("three next hops", lambda: bed.gateways() == sorted(NODES))

    shown = bed.bgpctl(plan, "show", "summary" if kind == "openbgpd" else "neighbor")
    for address in NODES:
        (line,) = (line for line in shown.splitlines() if line.startswith(address))
        assert line.split()[-1] == "1", shown
    rib = bed.bgpctl(plan, "show", "rib")
    assert sum(f"{VIP}/32" in line for line in rib.splitlines()) == 3, rib

    speakers[0].apply(speaker_config(0, prefixes=[]))
    with timed(f"{kind}: withdrawal to kernel"):
        wait_for("two next hops", lambda: bed.gateways() == sorted(NODES[1:]))
    for number in (1, 2):
        speakers[number].apply(speaker_config(number, prefixes=[f"{SECOND}/32"]))
    wait_for("the prefix is gone", lambda: bed.gateways() == [])
    wait_for("the other is there", lambda: bed.gateways(SECOND) == sorted(NODES[1:]))
    assert all(speaker.is_established() for speaker in speakers)


def test_frr_shares_by_the_nodes_weights(bed: Bed) -> None:
    """draft-ietf-idr-link-bandwidth, as FRR reads it: nodes with one, two and three backends."""
    speakers = start_both_families(bed, "frr", peer_networks=["10.8.0.0/24"], listen=[ROUTER])
    for number, speaker in enumerate(speakers):
        config = speaker_config(number, prefixes=[f"{VIP}/32", f"{VIP6}/128"], families=BOTH)
        routes = tuple(replace(route, weight=number + 1) for route in config.routes)
        speaker.apply(replace(config, routes=routes))

    def ordered(prefix: str, hops: tuple[str, ...]) -> bool:
        found = bed.weights(prefix)
        return len(found) == 3 and found[hops[0]] < found[hops[1]] < found[hops[2]]

    wait_for("weights", lambda: ordered(VIP, NODES))
    wait_for("IPv6 weights", lambda: ordered(VIP6, NODES6))


@pytest.mark.parametrize("kind", ["bird", "frr", "openbgpd"])
def test_killed_speaker_comes_back(bed: Bed, kind: str) -> None:
    plan = plan_router(
        kind,
        directory=bed.directory / kind,
        asn=64512,
        router_id=ROUTER,
        peer_networks=["10.8.0.0/24"],
        listen=[ROUTER],
    )
    bed.start_router(plan)
    speakers = [SpeakerProcess(bed, number) for number in range(3)]
    for number, speaker in enumerate(speakers):
        speaker.apply(speaker_config(number, graceful_restart_s=30))
    wait_for("three next hops", lambda: bed.gateways() == sorted(NODES))
    with watching(bed) as seen, timed(f"{kind}: killed speaker to three next hops again"):
        speakers[0].restart(signal.SIGKILL)
        speakers[0].wait_established()
        wait_for("three next hops again", lambda: bed.gateways() == sorted(NODES))
    assert seen == {tuple(sorted(NODES))}


@pytest.mark.parametrize("kind", ["cairn", "frr", "bird"])
def test_passwords(bed: Bed, kind: str) -> None:
    plan = plan_router(
        kind,
        directory=bed.directory / kind,
        asn=64512,
        router_id=ROUTER,
        peer_networks=["10.8.0.0/24"],
        listen=[ROUTER],
        password="s3cret",
    )
    daemons = bed.start_router(plan)
    right, wrong = SpeakerProcess(bed, 0), SpeakerProcess(bed, 1)
    wrong.apply(speaker_config(1, password="wrong"))
    right.apply(speaker_config(0, password="s3cret"))
    right.wait_established()
    wait_for("the route of the right one", lambda: bed.gateways() == [NODES[0]])
    assert not wrong.is_established()
    if kind == "cairn":
        wait_for("a line about it", lambda: "with a wrong password" in daemons[0].text)
    wrong.apply(speaker_config(1, password="s3cret"))
    wrong.wait_established()
    wait_for("both routes", lambda: bed.gateways() == sorted(NODES[:2]))


@pytest.mark.parametrize("kind", ["cairn", "frr", "bird"])
def test_external_sessions_with_a_password_over_ipv6(bed: Bed, kind: str) -> None:
    plan = plan_router(
        kind,
        directory=bed.directory / kind,
        asn=64512,
        router_id=ROUTER,
        peer_networks=["fd08::/64"],
        listen=[ROUTER6],
        node_asn=64513,
        password="s3cret",
    )
    bed.start_router(plan)
    right, wrong = SpeakerProcess(bed, 0), SpeakerProcess(bed, 1)
    common: dict[str, Any] = {"address": parse_address(ROUTER6), "families": BOTH, "asn": 64513}
    dual = [f"{VIP}/32", f"{VIP6}/128"]
    wrong.apply(speaker_config(1, prefixes=dual, password="wrong", **common))
    right.apply(speaker_config(0, prefixes=dual, password="s3cret", **common))
    wait_for("the IPv6 route of the right one", lambda: bed.gateways(VIP6) == [NODES6[0]])
    wait_for("its IPv4 route", lambda: bed.gateways() == [NODES[0]])
    assert not wrong.is_established()
    assert "64513 i" in bed.bgpctl(plan, "show", "rib")


@pytest.mark.parametrize("kind", ["cairn", "frr", "bird"])
def test_external_sessions(bed: Bed, kind: str) -> None:
    plan = plan_router(
        kind,
        directory=bed.directory / kind,
        asn=64512,
        router_id=ROUTER,
        peer_networks=["10.8.0.0/24"],
        listen=[ROUTER],
        node_asn=64513,
    )
    bed.start_router(plan)
    speakers = [SpeakerProcess(bed, number) for number in range(3)]
    for number, speaker in enumerate(speakers):
        speaker.apply(speaker_config(number, asn=64513))
    wait_for("three next hops", lambda: bed.gateways() == sorted(NODES))
    assert "64513 i" in bed.bgpctl(plan, "show", "rib")


def test_both_ends_connect(bed: Bed) -> None:
    config = f"""
log stderr all;
router id {ROUTER};
protocol device {{ }}
protocol direct {{ ipv4; }}
protocol kernel {{ ipv4 {{ export where source = RTS_BGP; }}; }}
protocol bgp node {{
  local {ROUTER} as 64512;
  neighbor {NODES[0]} as 64512;
  direct;
  connect delay time 1;
  connect retry time 1;
  ipv4 {{ import all; export none; }};
}}
"""
    speaker = SpeakerProcess(bed, 0, "--listen", NODES[0])
    speaker.apply(speaker_config(0, connect_retry_s=1))
    path = bed.write("active.conf", config)
    argv = ["bird", "-f", "-c", str(path), "-s", str(bed.directory / "active.ctl")]
    bed.start(bed.router, "bird", argv)
    speaker.wait_established()
    wait_for("the route", lambda: bed.gateways() == [NODES[0]])
    before = speaker.peer()["uptime_s"]
    wait_for("a calm second", lambda: speaker.peer()["uptime_s"] > max(before, 2.0))


def test_router_that_starts_after_the_nodes(bed: Bed) -> None:
    speaker = SpeakerProcess(bed, 0)
    speaker.apply(speaker_config(0))
    wait_for("a refused attempt", lambda: "Connection refused" in speaker.peer()["last_error"])
    plan = plan_router(
        "cairn",
        directory=bed.directory / "cairn",
        asn=64512,
        router_id=ROUTER,
        peer_networks=["10.8.0.0/24"],
        listen=[ROUTER],
    )
    bed.start_router(plan)
    with timed("router's start to Established"):
        speaker.wait_established()
    assert speaker.daemon.text.count("not connected") == 1
