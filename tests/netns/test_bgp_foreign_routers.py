"""`cairn speaker` on three nodes towards each kind of router: sessions, ECMP, withdrawal."""

import signal
from collections.abc import Iterator

import pytest
from bgp_bed import (
    NODES,
    ROUTER,
    VIP,
    Bed,
    SpeakerProcess,
    speaker_config,
    timed,
    wait_for,
    watching,
)

from cairn.router.daemons import KINDS, plan_router

SECOND = "203.0.113.2"


@pytest.fixture
def bed() -> Iterator[Bed]:
    with Bed() as bench:
        yield bench


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
