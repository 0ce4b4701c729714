"""`cairn router` with `cairn speaker`: restarts, kill -9, views, guard of the port, bad input."""

import json
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bgp_bed import (
    BOTH,
    CAIRN,
    NODES,
    NODES6,
    ROUTER,
    ROUTER6,
    VIP,
    VIP6,
    Bed,
    Daemon,
    SpeakerProcess,
    speaker_config,
    timed,
    wait_for,
    watching,
)

from cairn.linux import namespace
from cairn.net import parse_address
from cairn.router.daemons import RouterPlan, plan_router


@pytest.fixture
def bed() -> Iterator[Bed]:
    with Bed() as bench:
        yield bench


@pytest.fixture
def plan(bed: Bed) -> RouterPlan:
    return plan_router(
        "cairn",
        directory=bed.directory / "router",
        asn=64512,
        router_id=ROUTER,
        peer_networks=["10.8.0.0/24", "fd08::/64"],
        listen=[ROUTER, "fd08::1"],
    )


@pytest.fixture
def router(bed: Bed, plan: RouterPlan) -> Daemon:
    return bed.start_router(plan)[0]


@pytest.fixture
def speakers(bed: Bed, router: Daemon) -> list[SpeakerProcess]:
    nodes = [SpeakerProcess(bed, number) for number in range(3)]
    for number, node in enumerate(nodes):
        node.apply(speaker_config(number, graceful_restart_s=30))
    wait_for("three next hops", lambda: bed.gateways() == sorted(NODES))
    return nodes


def test_views(bed: Bed, plan: RouterPlan, speakers: list[SpeakerProcess]) -> None:
    lines = bed.bgpctl(plan, "show", "neighbor").splitlines()
    header = "Neighbor                   AS    MsgRcvd    MsgSent  OutQ Up/Down  State/PrfRcvd"
    assert lines[0] == header
    assert [line.split()[0] for line in lines[1:]] == list(NODES)
    print(*lines, sep="\n")
    assert all(line.split()[1] == "64512" and line.split()[-1] == "1" for line in lines[1:])

    rib = bed.bgpctl(plan, "show", "rib").splitlines()
    assert rib[0] == "flags: * = Valid, > = Selected, I = via IBGP, A = Announced,"
    assert [line.split() for line in rib[3:]] == [
        ["I*>", f"{VIP}/32", address, "100", "0", "i"] for address in NODES
    ]
    decoded = json.loads(bed.bgpctl(plan, "-j", "show", "rib", VIP))
    assert [path["exit_nexthop"] for path in decoded["rib"]] == list(NODES)
    assert bed.bgpctl(plan, "show", "fib").count(f"{VIP}/32") == 3
    assert "Established" in bed.bgpctl(plan, "show", "neighbor", NODES[0])


def test_the_agents_restart_touches_no_session(bed: Bed, speakers: list[SpeakerProcess]) -> None:
    before = [speaker.peer()["uptime_s"] for speaker in speakers]
    for number, speaker in enumerate(speakers):
        speaker.apply(speaker_config(number, graceful_restart_s=30))
    after = [speaker.peer()["uptime_s"] for speaker in speakers]
    assert all(late > early for early, late in zip(before, after, strict=True))
    assert bed.gateways() == sorted(NODES)


def test_killed_speaker_comes_back_and_its_routes_never_leave(
    bed: Bed, speakers: list[SpeakerProcess]
) -> None:
    with watching(bed) as seen:
        with timed("killed speaker: to Established again"):
            speakers[0].restart(signal.SIGKILL)
            speakers[0].wait_established()
        wait_for("its routes again", lambda: speakers[0].peer()["prefixes_announced"] == 1)
    assert seen == {tuple(sorted(NODES))}


def test_a_second_connection_from_a_node_disturbs_nobody(
    bed: Bed, speakers: list[SpeakerProcess]
) -> None:
    before = speakers[0].peer()
    knock = "import socket; s = socket.create_connection(('10.8.0.1', 179), 5); s.recv(19)"
    assert bed.run(bed.nodes[0], CAIRN[0], "-c", knock).returncode == 0
    after = speakers[0].peer()
    assert after["state"] == "Established"
    assert after["uptime_s"] > before["uptime_s"]
    assert bed.gateways() == sorted(NODES)


def test_stopped_speaker_with_graceful_restart_keeps_its_routes(
    bed: Bed, speakers: list[SpeakerProcess]
) -> None:
    assert speakers[0].daemon.stop() == 0
    assert bed.gateways() == sorted(NODES)


def test_stopped_speaker_without_graceful_restart_takes_its_routes(
    bed: Bed, plan: RouterPlan, router: Daemon, speakers: list[SpeakerProcess]
) -> None:
    speakers[0].apply(speaker_config(0))
    wait_for("without graceful restart", speakers[0].is_established)
    wait_for("three next hops", lambda: bed.gateways() == sorted(NODES))
    assert speakers[0].daemon.stop() == 0
    wait_for("two next hops", lambda: bed.gateways() == sorted(NODES[1:]))
    assert "administrative shutdown" in router.text
    shown = bed.bgpctl(plan, "show", "neighbor")
    assert [line.split()[-1] for line in shown.splitlines()[1:]] == ["Active", "1", "1"]
    assert "administrative shutdown" in bed.bgpctl(plan, "show", "neighbor", NODES[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restarted_router_never_drops_a_route_that_still_holds(
    bed: Bed,
    plan: RouterPlan,
    router: Daemon,
    speakers: list[SpeakerProcess],
    number: signal.Signals,
) -> None:
    router.stop(number)
    assert bed.gateways() == sorted(NODES)
    with timed("router restart to three sessions"):
        bed.start_router(plan)
        seen = set()
        while not all(speaker.is_established() for speaker in speakers):
            seen.add(tuple(bed.gateways()))
    seen.add(tuple(bed.gateways()))
    assert seen == {tuple(sorted(NODES))}


def test_route_withdrawn_while_the_router_was_down_is_swept(
    bed: Bed, plan: RouterPlan, router: Daemon, speakers: list[SpeakerProcess]
) -> None:
    router.stop(signal.SIGKILL)
    speakers[0].apply(speaker_config(0, prefixes=[], graceful_restart_s=30))
    assert bed.gateways() == sorted(NODES)
    bed.start_router(plan)
    wait_for("the stale next hop is gone", lambda: bed.gateways() == sorted(NODES[1:]))


def test_a_removed_route_is_written_again(bed: Bed, speakers: list[SpeakerProcess]) -> None:
    bed.ip(bed.router, f"route del {VIP}/32")
    wait_for("the route is back", lambda: bed.gateways() == sorted(NODES))


DUAL: dict[str, Any] = {"prefixes": [f"{VIP}/32", f"{VIP6}/128"], "families": BOTH}


@pytest.fixture
def dual(bed: Bed, router: Daemon) -> list[SpeakerProcess]:
    """Three nodes that announce both families, over one IPv4 session each."""
    nodes = [SpeakerProcess(bed, number) for number in range(3)]
    for number, node in enumerate(nodes):
        node.apply(speaker_config(number, graceful_restart_s=30, **DUAL))
    wait_for("three next hops", lambda: bed.gateways() == sorted(NODES))
    wait_for("three IPv6 next hops", lambda: bed.gateways(VIP6) == sorted(NODES6))
    return nodes


def test_ipv6_prefixes_over_an_ipv6_session(bed: Bed, plan: RouterPlan, router: Daemon) -> None:
    for number in range(3):
        speaker = SpeakerProcess(bed, number)
        config = speaker_config(
            number,
            prefixes=[f"{VIP6}/128"],
            families=BOTH[1:],
            address=parse_address(ROUTER6),
        )
        speaker.apply(config)
    wait_for("three next hops", lambda: bed.gateways(VIP6) == sorted(NODES6))
    shown = bed.bgpctl(plan, "show", "summary").splitlines()[1:]
    assert [(line.split()[0], line.split()[-1]) for line in shown] == [(n, "1") for n in NODES6]


def test_views_of_both_families(bed: Bed, plan: RouterPlan, dual: list[SpeakerProcess]) -> None:
    rib = [line.split() for line in bed.bgpctl(plan, "show", "rib").splitlines()[3:]]
    assert rib == [
        ["I*>", f"{prefix}", address, "100", "0", "i"]
        for prefix, hops in ((f"{VIP}/32", NODES), (f"{VIP6}/128", NODES6))
        for address in hops
    ]
    found = json.loads(bed.bgpctl(plan, "-j", "show", "rib", VIP6))
    assert [path["exit_nexthop"] for path in found["rib"]] == list(NODES6)
    assert [path["neighbor"]["remote_addr"] for path in found["rib"]] == list(NODES)
    fib = bed.bgpctl(plan, "show", "fib")
    assert fib.count(f"{VIP6}/128") == 3
    shown = bed.bgpctl(plan, "show", "neighbor", NODES[0])
    assert "Families: IPv4 unicast, IPv6 unicast" in shown
    assert "Prefixes of IPv6 unicast: 1 received, 0 sent" in shown
    kernel = bed.run(bed.router, "ip", "-6", "route", "show", VIP6).stdout
    assert "proto bgp" in kernel
    netstat = (CAIRN[0], "-m", "cairn.lab.netstat")
    for words in (["-rn6"], ["-rn", "-A", "inet6"], ["-6", "-r", "-n"]):
        table = bed.run(bed.router, *netstat, *words).stdout.splitlines()
        assert table[0] == "Kernel IPv6 routing table"
        rows = [line.split() for line in table if line.startswith(VIP6)]
        assert [row[:3] for row in rows] == [[f"{VIP6}/128", hop, "UGH"] for hop in NODES6]


def test_a_router_that_takes_no_ipv6_gets_ipv4_and_it_is_said_once(bed: Bed) -> None:
    only4 = "groups: [{name: nodes, prefix: 10.8.0.0/24, families: [ipv4/unicast]}]"
    path = bed.write("only4.yaml", f"asn: 64512\nrouter_id: {ROUTER}\n{only4}\n")
    argv = [*CAIRN, "router", "--config", str(path), "--socket", str(bed.directory / "only4.sock")]
    bed.start(bed.router, "only4", argv)
    speaker = SpeakerProcess(bed, 0)
    more = [f"2001:db8:f::{n}/128" for n in range(2, 5)]
    config = speaker_config(0, prefixes=[*DUAL["prefixes"], *more], families=BOTH)
    speaker.apply(config)
    wait_for("the IPv4 route", lambda: bed.gateways() == [NODES[0]])
    (why,) = speaker.peer()["not_announced"]
    assert why.startswith("the peer does not take IPv6 unicast")
    assert speaker.peer()["not_announced"] == {why: 4}
    assert speaker.daemon.text.count("does not take IPv6 unicast") == 1
    assert bed.gateways(VIP6) == []


@pytest.mark.parametrize(
    ("prefix", "hops", "wrong"),
    [
        (VIP, NODES, "172.31.0.9"),  # not on the link
        (VIP6, NODES6, "fd0f::9"),
        (VIP6, NODES6, ROUTER6),  # the router itself
    ],
)
def test_a_next_hop_that_the_kernel_refuses_costs_its_own_share_only(
    bed: Bed,
    router: Daemon,
    dual: list[SpeakerProcess],
    prefix: str,
    hops: tuple[str, ...],
    wrong: str,
) -> None:
    config = speaker_config(0, graceful_restart_s=30, **DUAL)
    elsewhere = tuple(
        replace(route, next_hop=parse_address(wrong))
        if str(route.prefix).startswith(f"{prefix}/")
        else route
        for route in config.routes
    )
    dual[0].apply(replace(config, routes=elsewhere))
    wait_for("the others' next hops", lambda: bed.gateways(prefix) == sorted(hops[1:]))
    said = f"the kernel refuses the route to {prefix}/"
    wait_for("a line about it", lambda: said in router.text)
    assert f" via {wrong}: " in router.text
    dual[1].apply(speaker_config(1, graceful_restart_s=30, prefixes=[], families=BOTH))
    wait_for("one next hop", lambda: bed.gateways(prefix) == [hops[2]])
    dual[0].apply(config)
    wait_for("the right one again", lambda: bed.gateways(prefix) == [hops[0], hops[2]])
    assert router.text.count(said) == 1
    assert bed.run(bed.router, "ip", "route", "show", "table", "24661").stdout == ""


def test_weights_of_the_nodes_become_weights_of_the_kernel(
    bed: Bed, plan: RouterPlan, router: Daemon
) -> None:
    """draft-ietf-idr-link-bandwidth: nodes with one, two and three backends, in both families."""
    nodes = [SpeakerProcess(bed, number) for number in range(3)]

    def apply(number: int, weight: int | None) -> None:
        config = speaker_config(number, **DUAL)
        routes = tuple(replace(route, weight=weight) for route in config.routes)
        nodes[number].apply(replace(config, routes=routes))

    for number in range(3):
        apply(number, number + 1)
    for prefix, hops in ((VIP, NODES), (VIP6, NODES6)):
        weighted = dict(zip(hops, (1, 2, 3), strict=True))
        wait_for("the weights", lambda p=prefix, w=weighted: bed.weights(p) == w)  # type: ignore[misc]
    assert f"{NODES6[2]} weight 3" in bed.bgpctl(plan, "show", "fib")
    apply(0, None)
    equal = dict.fromkeys(NODES6, 1)
    wait_for("equal shares, as one says nothing", lambda: bed.weights(VIP6) == equal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restarted_router_keeps_ipv6_routes_and_sweeps_what_was_not_repeated(
    bed: Bed,
    plan: RouterPlan,
    router: Daemon,
    dual: list[SpeakerProcess],
    number: signal.Signals,
) -> None:
    router.stop(number)
    gone = "2001:db8:f::9"
    bed.ip(bed.router, f"-6 route add {gone}/128 via {NODES6[0]} proto bgp metric 20")
    with watching(bed, VIP6) as seen:
        bed.start_router(plan)
        for speaker in dual:
            speaker.wait_established()
        wait_for("the stale IPv6 route is swept", lambda: bed.gateways(gone) == [])
    assert seen == {tuple(sorted(NODES6))}
    assert bed.gateways() == sorted(NODES)


def test_killed_speaker_comes_back_and_its_routes_of_both_families_never_leave(
    bed: Bed, dual: list[SpeakerProcess]
) -> None:
    with watching(bed) as seen, watching(bed, VIP6) as seen6:
        dual[0].restart(signal.SIGKILL)
        dual[0].wait_established()
        counts = {"received": 0, "announced": 1}
        both = {"IPv4 unicast": counts, "IPv6 unicast": counts}
        wait_for("its routes again", lambda: dual[0].peer()["counts"] == both)
    assert seen == {tuple(sorted(NODES))}
    assert seen6 == {tuple(sorted(NODES6))}


def test_strangers_cannot_reach_the_port_over_ipv6(bed: Bed, router: Daemon) -> None:
    rules = bed.run(bed.router, "nft", "list", "table", "inet", "cairn_router").stdout
    assert "fd08::/64" in rules
    bed.ip(bed.nodes[0], "addr add fd09::9/64 dev eth0 nodad")
    bed.ip(bed.router, "-6 route add fd09::9/128 dev br0")
    open_port = f"import socket,sys; socket.create_connection(('{ROUTER6}',179),2,(sys.argv[1],0))"
    python = CAIRN[0]
    assert bed.run(bed.nodes[0], python, "-c", open_port, NODES6[0]).returncode == 0
    assert "TimeoutError" in bed.run(bed.nodes[0], python, "-c", open_port, "fd09::9").stderr


def test_strangers_cannot_reach_the_port(bed: Bed, router: Daemon) -> None:
    rules = bed.run(bed.router, "nft", "list", "table", "inet", "cairn_router").stdout
    assert "10.8.0.0/24" in rules
    bed.ip(bed.nodes[0], "addr add 172.30.0.9/24 dev eth0")
    bed.ip(bed.router, "route add 172.30.0.9/32 dev br0")
    open_port = "import socket,sys; socket.create_connection(('10.8.0.1',179),2,(sys.argv[1],0))"
    python = CAIRN[0]
    assert bed.run(bed.nodes[0], python, "-c", open_port, NODES[0]).returncode == 0
    refused = bed.run(bed.nodes[0], python, "-c", open_port, "172.30.0.9")
    assert "TimeoutError" in refused.stderr
    router.stop()
    gone = bed.run(bed.router, "nft", "list", "table", "inet", "cairn_router")
    assert gone.returncode != 0


def test_malformed_octets_are_one_clear_line(bed: Bed, router: Daemon) -> None:
    shout = (
        "import socket; s=socket.create_connection(('10.8.0.1',179),5); s.sendall(b'GET / HTTP/1.1'"
        "+b'\\r\\n'*20); s.settimeout(5); print(len(s.recv(4096)))"
    )
    bed.run(bed.nodes[0], CAIRN[0], "-c", shout)
    wait_for("a line about it", lambda: "connection not synchronized" in router.text)
    assert "Traceback" not in router.text
    assert router.status is None


OPEN = bytes.fromhex(
    "ffffffffffffffffffffffffffffffff 002b 01"  # marker, length 43, OPEN
    "04 fc00 005a 0a08000b 0e"  # version 4, AS 64512, hold 90 s, 10.8.0.11, 14 octets follow
    "02 0c 0104 0001 00 01 4104 0000fc00"  # capabilities: IPv4 unicast; AS 64512 in four octets
)
KEEPALIVE = bytes.fromhex("ffffffffffffffffffffffffffffffff 0013 04")
BAD_ORIGIN = bytes.fromhex(
    "ffffffffffffffffffffffffffffffff 0031 02 0000 0015"  # UPDATE, 21 octets of attributes
    "400101 07"  # ORIGIN 7: no such origin
    "400200"  # AS_PATH, empty
    "400304 0a08000b"  # NEXT_HOP 10.8.0.11
    "400504 00000064"  # LOCAL_PREF 100
    "20 cb007109"  # 203.0.113.9/32
)


def test_malformed_attribute_costs_the_route_and_not_the_session(
    bed: Bed, plan: RouterPlan, router: Daemon
) -> None:
    connect = partial(socket.create_connection, (ROUTER, 179), 10)
    with namespace.call_in(bed.nodes[0], connect) as peer:
        peer.sendall(OPEN + KEEPALIVE + BAD_ORIGIN + KEEPALIVE)
        wait_for("a line about it", lambda: "treated as withdrawn" in router.text)
        assert "203.0.113.9/32" in router.text
        (line,) = (
            line
            for line in bed.bgpctl(plan, "show", "neighbor").splitlines()
            if line.startswith(NODES[0])
        )
        assert line.split()[-1] == "0"
    assert "TreatedAsWithdraw                 1" in bed.bgpctl(plan, "show", "counters")
    assert bed.gateways("203.0.113.9") == []


def run_router(bed: Bed, config: str, *extra: str) -> tuple[int, str]:
    path: Path = bed.write("bad.yaml", config)
    socket = str(bed.directory / "bad.sock")
    argv = [*CAIRN, "router", "--config", str(path), "--socket", socket, *extra]
    done = bed.run(bed.router, *argv)
    return done.returncode, done.stderr


def test_port_in_use_is_one_line(bed: Bed, router: Daemon) -> None:
    group = "groups: [{name: a, prefix: 10.8.0.0/24}]"
    config = f"asn: 1\nrouter_id: 1.1.1.1\nlisten: [{ROUTER}]\n{group}\n"
    status, said = run_router(bed, config)
    assert status == 1
    assert f"cannot listen on {ROUTER} port 179" in said.splitlines()[-1]
    guard = bed.run(bed.router, "nft", "list", "table", "inet", "cairn_router")
    assert "10.8.0.0/24" in guard.stdout
    assert "Traceback" not in said


GOOD = "asn: 1\nrouter_id: 1.1.1.1\ngroups: [{name: a, prefix: 10.8.0.0/24}]\n"


def test_missing_tool_and_missing_rights_are_one_line(bed: Bed) -> None:
    path = bed.write("good.yaml", GOOD, 0o644)
    argv = [*CAIRN, "router", "--socket", str(bed.directory / "s"), "--config"]
    without_nft = bed.run(bed.router, "env", "PATH=/nonexistent", *argv, str(path))
    assert (without_nft.returncode, without_nft.stderr.count("nft is not")) == (1, 1)
    nobody = ("setpriv", "--reuid", "65534", "--clear-groups")
    without_root = bed.run(bed.router, *nobody, *argv, str(path))
    assert (without_root.returncode, without_root.stderr.count("\n")) == (1, 1)
    assert "run it as root" in without_root.stderr
    without_file = bed.run(bed.router, *argv, "/nonexistent.yaml")
    assert without_file.stderr == "cairn router: /nonexistent.yaml: No such file or directory\n"


def test_bad_configuration_is_one_line(bed: Bed) -> None:
    status, said = run_router(bed, "asn: many\n")
    assert status == 1
    assert said.count("\n") == 1
    assert "config.asn" in said


def test_flush_leaves_nothing(bed: Bed, router: Daemon, speakers: list[SpeakerProcess]) -> None:
    router.stop(signal.SIGKILL)
    assert bed.gateways() == sorted(NODES)
    assert bed.run(bed.router, *CAIRN, "router", "--flush").returncode == 0
    assert bed.gateways() == []
    assert bed.run(bed.router, "nft", "list", "tables").stdout == ""


def test_speaker_refuses_a_broken_state_and_keeps_the_old(
    bed: Bed, speakers: list[SpeakerProcess]
) -> None:
    answer = speakers[0].ask({"router_id": "10.8.0.11", "asn": 64512, "peers": [{"name": "x"}]})
    assert answer["event"] == "error"
    assert "address" in answer["error"]
    assert speakers[0].is_established()


def test_another_bgp_identifier_restarts_the_sessions(
    bed: Bed, plan: RouterPlan, speakers: list[SpeakerProcess]
) -> None:
    config = speaker_config(0, graceful_restart_s=30)
    speakers[0].apply(replace(config, router_id="10.8.0.99"))
    wait_for("the new identifier", lambda: "10.8.0.99" in detail(bed, plan))
    speakers[0].wait_established()
    wait_for("three next hops", lambda: bed.gateways() == sorted(NODES))


def detail(bed: Bed, plan: RouterPlan) -> str:
    return bed.bgpctl(plan, "show", "neighbor", NODES[0])


def test_unusable_state_file_is_reported_and_waits_for_the_agent(
    bed: Bed, speakers: list[SpeakerProcess]
) -> None:
    speakers[0].daemon.stop()
    speakers[0].state_path.write_text('{"router_id": 7}')
    speakers[0].restart(signal.SIGTERM)
    assert "is not usable: config.router_id" in speakers[0].daemon.text
    speakers[0].apply(speaker_config(0, graceful_restart_s=30))
    speakers[0].wait_established()


def test_speaker_stays_small(speakers: list[SpeakerProcess]) -> None:
    status = Path(f"/proc/{speakers[0].daemon.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    rss_kib = int(line.split()[1])
    print(f"speaker: {rss_kib / 1024:.1f} MiB")
    assert rss_kib < 45_000_000 / 1024
