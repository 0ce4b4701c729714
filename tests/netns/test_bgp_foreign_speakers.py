"""Other people's daemons as the nodes' speakers towards `cairn router`, and GoBGP as a router."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bgp_bed import (
    BOTH,
    NODES,
    NODES6,
    ROUTER,
    VIP,
    VIP6,
    Bed,
    SpeakerProcess,
    speaker_config,
    timed,
    wait_for,
)

from cairn.router.daemons import RouterPlan, plan_router

# Starts a speaker on node 0 that announces what it was told to.
Start = Callable[[Bed, int], None]


@pytest.fixture
def bed() -> Iterator[Bed]:
    with Bed() as bench:
        yield bench


def start_frr(bed: Bed, node_asn: int) -> None:
    directory = bed.directory / "node-frr"
    config = f"""
ip route {VIP}/32 blackhole
ipv6 route {VIP6}/128 blackhole
route-map SELF permit 10
 set ipv6 next-hop global {NODES6[0]}
exit
router bgp {node_asn}
 bgp router-id {NODES[0]}
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor {ROUTER} remote-as 64512
 neighbor {ROUTER} timers connect 1
 address-family ipv4 unicast
  network {VIP}/32
 exit-address-family
 address-family ipv6 unicast
  network {VIP6}/128
  neighbor {ROUTER} activate
  neighbor {ROUTER} route-map SELF out
 exit-address-family
"""
    plan = plan_router(
        "frr",
        directory=directory,
        asn=node_asn,
        router_id=NODES[0],
        peer_networks=[f"{ROUTER}/32"],
        listen=[NODES[0]],
    )
    directory.mkdir()
    write_owned(directory, "frr", {"zebra.conf": "hostname node\n", "bgpd.conf": config})
    for process in plan.processes:
        bed.start(bed.nodes[0], f"node-{process.name}", process.argv)


def write_owned(directory: Path, owner: str, files: dict[str, str]) -> None:

    shutil.chown(directory, owner, owner)
    for name, text in files.items():
        (directory / name).write_text(text)
        shutil.chown(directory / name, owner, owner)


def start_bird(bed: Bed, node_asn: int) -> None:
    config = f"""
router id {NODES[0]};
protocol device {{ }}
protocol static {{ ipv4; route {VIP}/32 blackhole; }}
protocol static {{ ipv6; route {VIP6}/128 blackhole; }}
protocol bgp home {{
  local {NODES[0]} as {node_asn};
  neighbor {ROUTER} as 64512;
  connect retry time 1;
  connect delay time 1;
  ipv4 {{ import none; export all; next hop self; }};
  ipv6 {{ import none; export all; next hop address {NODES6[0]}; }};
}}
"""
    path = bed.write("node-bird.conf", config)
    control = str(bed.directory / "node-bird.ctl")
    bed.start(bed.nodes[0], "node-bird", ["bird", "-f", "-c", str(path), "-s", control])


def start_openbgpd(bed: Bed, node_asn: int) -> None:
    config = f"""
AS {node_asn}
router-id {NODES[0]}
listen on {NODES[0]}
fib-update no
socket "{bed.directory}/node-bgpd.sock"
network {VIP}/32 set nexthop {NODES[0]}
network {VIP6}/128 set nexthop {NODES6[0]}
neighbor {ROUTER} {{
  remote-as 64512
  announce IPv4 unicast
  announce IPv6 unicast
}}
allow from any
allow to any
"""
    path = bed.write("node-bgpd.conf", config, 0o600)
    bed.start(bed.nodes[0], "node-openbgpd", ["/usr/sbin/bgpd", "-d", "-f", str(path)])


def start_gobgp(bed: Bed, node_asn: int) -> None:
    config = f"""
[global.config]
  as = {node_asn}
  router-id = "{NODES[0]}"
  port = -1
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{ROUTER}"
    peer-as = 64512
  [neighbors.timers.config]
    connect-retry = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
"""
    path = bed.write("node-gobgp.toml", config)
    api = f"unix://{bed.directory}/node-gobgp.sock"
    argv = ["gobgpd", "-f", str(path), "--api-hosts", api, "--pprof-disable"]
    bed.start(bed.nodes[0], "node-gobgp", argv)

    def announced(prefix: str, hop: str) -> bool:
        family = ["-a", "ipv6"] if ":" in prefix else []
        add = ["global", "rib", "add", prefix, "origin", "igp", "nexthop", hop, *family]
        return bed.run(bed.nodes[0], "gobgp", "--target", api, *add).returncode == 0

    wait_for("gobgp's API", lambda: announced(f"{VIP}/32", NODES[0]))
    assert announced(f"{VIP6}/128", NODES6[0])


STARTS: dict[str, Start] = {
    "frr": start_frr,
    "bird": start_bird,
    "openbgpd": start_openbgpd,
    "gobgp": start_gobgp,
}


def cairn_router(bed: Bed, node_asn: int) -> RouterPlan:
    return plan_router(
        "cairn",
        directory=bed.directory / "router",
        asn=64512,
        router_id=ROUTER,
        peer_networks=["10.8.0.0/24"],
        listen=[ROUTER],
        node_asn=node_asn,
    )


@pytest.mark.parametrize("node_asn", [64512, 64513], ids=["internal", "external"])
@pytest.mark.parametrize("kind", STARTS)
def test_foreign_speaker_beside_ours_makes_an_ecmp_route(
    bed: Bed, kind: str, node_asn: int
) -> None:
    plan = cairn_router(bed, node_asn)
    bed.start_router(plan)
    ours = SpeakerProcess(bed, 1)
    dual = [f"{VIP}/32", f"{VIP6}/128"]
    ours.apply(speaker_config(1, asn=node_asn, prefixes=dual, families=BOTH))
    with timed(f"{kind} as a speaker: start to route"):
        STARTS[kind](bed, node_asn)
        wait_for("both next hops", lambda: bed.gateways() == sorted(NODES[:2]))
    if (kind, node_asn) == ("openbgpd", 64513):
        # OpenBGPD for Linux names ::1 to external peers of the other family: that must be said.
        said = "not used: next hop ::1 is no address of a router"
        wait_for("the reason", lambda: said in bed.bgpctl(plan, "show", "rib", VIP6))
        wait_for("our IPv6 next hop", lambda: bed.gateways(VIP6) == [NODES6[1]])
    else:
        wait_for("both IPv6 next hops", lambda: bed.gateways(VIP6) == sorted(NODES6[:2]))
    (line,) = (
        line
        for line in bed.bgpctl(plan, "show", "neighbor").splitlines()
        if line.startswith(NODES[0])
    )
    assert line.split()[-1] == "2"


def test_gobgp_as_the_router(bed: Bed) -> None:
    config = f"""
[global.config]
  as = 64512
  router-id = "{ROUTER}"
  local-address-list = ["{ROUTER}"]
[global.use-multiple-paths.config]
  enabled = true
[[peer-groups]]
  [peer-groups.config]
    peer-group-name = "nodes"
    peer-as = 64512
  [[peer-groups.afi-safis]]
    [peer-groups.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[peer-groups.afi-safis]]
    [peer-groups.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
[[dynamic-neighbors]]
  [dynamic-neighbors.config]
    prefix = "10.8.0.0/24"
    peer-group = "nodes"
"""
    path = bed.write("gobgp.toml", config)
    api = f"unix://{bed.directory}/gobgp.sock"
    argv = ["gobgpd", "-f", str(path), "--api-hosts", api, "--pprof-disable"]
    bed.start(bed.router, "gobgp", argv)
    speakers = [SpeakerProcess(bed, number) for number in range(3)]
    for number, speaker in enumerate(speakers):
        dual = speaker_config(number, prefixes=[f"{VIP}/32", f"{VIP6}/128"], families=BOTH)
        speaker.apply(dual)

    def rib(family: str = "ipv4") -> str:
        show = ["gobgp", "--target", api, "global", "rib", "-a", family]
        return bed.run(bed.router, *show).stdout

    wait_for("three paths", lambda: all(address in rib() for address in NODES))
    wait_for("three IPv6 paths", lambda: all(hop in rib("ipv6") for hop in NODES6))
    assert f"{VIP6}/128" in rib("ipv6")
    speakers[0].apply(speaker_config(0, prefixes=[]))
    wait_for("the withdrawal", lambda: NODES[0] not in rib())
    assert NODES[1] in rib()
