"""What FRR 8.4 and BIRD 2.0 print, captured from real sessions, as our rows."""

import json

import pytest

from cairn.router.foreign_views import (
    ForeignFailed,
    bird_views,
    frr_views,
    kernel_rows,
    read_foreign,
)
from cairn.router.views import RouteRow

FRR_SUMMARY = json.loads("""{"ipv4Unicast":{"routerId":"10.8.0.1","as":64512,"peerCount":2,"peers":{
"10.8.0.12":{"dynamicPeer":true,"remoteAs":64513,"localAs":64512,"msgRcvd":4,"msgSent":3,"outq":0,
"peerUptimeMsec":3000,"pfxRcd":1,"pfxSnt":0,"state":"Established"},
"10.8.0.11":{"dynamicPeer":true,"remoteAs":64513,"localAs":64512,"msgRcvd":7,"msgSent":5,"outq":0,
"peerUptimeMsec":0,"pfxRcd":0,"pfxSnt":0,"state":"Active"}}}}""")

FRR_RIB = json.loads("""{"vrfId":0,"routerId":"10.8.0.1","localAS":64512,
"routes":{"203.0.113.1/32":[
{"valid":true,"multipath":true,"pathFrom":"external","peerId":"10.8.0.12","path":"64513",
"origin":"IGP","nexthops":[{"ip":"10.8.0.12","afi":"ipv4","used":true}]},
{"valid":true,"bestpath":true,"selectionReason":"Router ID","pathFrom":"internal","locPrf":200,
"peerId":"10.8.0.11","path":"","origin":"IGP",
"nexthops":[{"ip":"10.8.0.11","afi":"ipv4","used":true}]}]}}""")

BIRD_STATUS = """BIRD 2.0.12 ready.
BIRD 2.0.12
Router ID is 10.8.0.1
Current server time is 2026-11-23 01:58:46.749
"""

BIRD_PROTOCOLS = """BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
range0     BGP        ---        start  2026-11-23 01:58:42  Passive
  BGP state:          Passive
    Neighbor range:   10.8.0.0/24
    Neighbor AS:      64513
    Local AS:         64512

node0x1    BGP        ---        up     2026-11-23 01:58:44  Established
  BGP state:          Established
    Neighbor address: 10.8.0.11
    Neighbor AS:      64513
    Local AS:         64512
  Channel ipv4
    State:          UP
    Routes:         1 imported, 0 exported, 1 preferred
    Route change stats:     received   rejected   filtered    ignored   accepted
      Import updates:              1          0          0          0          1
      Import withdraws:            2          0        ---          0          0
"""

BIRD_ROUTES = """BIRD 2.0.12 ready.
Table master4:
203.0.113.1/32       unicast [node0x1 01:58:44.078] * (100) [AS64513i]
\tvia 10.8.0.11 on br0
\tType: BGP univ
\tBGP.origin: IGP
\tBGP.as_path: 64513
\tBGP.next_hop: 10.8.0.11
\tBGP.local_pref: 100
                     unicast [node0x2 01:58:44.101] (100) [AS64513i]
\tvia 10.8.0.12 on br0
\tType: BGP univ
\tBGP.origin: IGP
\tBGP.as_path: 64513
\tBGP.next_hop: 10.8.0.12
\tBGP.local_pref: 100
10.8.0.0/24          unicast [direct4 01:58:42.981] * (240)
\tdev br0
\tType: device univ
"""


def test_frr() -> None:
    views = frr_views(FRR_SUMMARY, [FRR_RIB, {}])
    assert (views.router_id, views.asn) == ("10.8.0.1", 64512)
    down, up = views.neighbors
    assert (down.address, down.state, down.prefixes, down.since_s) == (
        "10.8.0.11",
        "Active",
        None,
        None,
    )
    assert (up.address, up.prefixes, up.received, up.since_s) == ("10.8.0.12", 1, 4, 3.0)
    inner, outer = views.paths
    assert (inner.gateway, inner.internal, inner.best, inner.local_pref) == (
        "10.8.0.11",
        True,
        True,
        200,
    )
    assert (outer.gateway, outer.internal, outer.best, outer.as_path) == (
        "10.8.0.12",
        False,
        True,
        "64513",
    )


def test_frr_counts_a_session_of_both_families_once_with_all_prefixes() -> None:
    four = FRR_SUMMARY["ipv4Unicast"]
    six = {**four, "peers": {"10.8.0.12": {**four["peers"]["10.8.0.12"], "pfxRcd": 2}}}
    views = frr_views({"ipv4Unicast": four, "ipv6Unicast": six}, [FRR_RIB, {}])
    assert [(row.address, row.prefixes) for row in views.neighbors] == [
        ("10.8.0.11", None),
        ("10.8.0.12", 3),
    ]


def test_bird_sums_the_channels_of_both_families() -> None:
    channel = BIRD_PROTOCOLS[BIRD_PROTOCOLS.index("  Channel ipv4") :]
    both = BIRD_PROTOCOLS + channel.replace("ipv4", "ipv6")
    (node,) = bird_views(BIRD_STATUS, both, BIRD_ROUTES).neighbors
    assert (node.prefixes, node.received) == (2, 6)


def test_bird() -> None:
    views = bird_views(BIRD_STATUS, BIRD_PROTOCOLS, BIRD_ROUTES)
    assert (views.router_id, views.asn) == ("10.8.0.1", 64512)
    (node,) = views.neighbors
    assert (node.address, node.asn, node.prefixes, node.since_s) == ("10.8.0.11", 64513, 1, 2.0)
    assert [path.gateway for path in views.paths] == ["10.8.0.11", "10.8.0.12"]
    assert {path.prefix for path in views.paths} == {"203.0.113.1/32"}


@pytest.mark.parametrize("text", ["", "nonsense\n", BIRD_ROUTES, BIRD_STATUS])
def test_bird_reading_is_total(text: str) -> None:
    views = bird_views(text, text, text)
    assert views.neighbors == ()


def test_unknown_daemon_is_named() -> None:
    with pytest.raises(ForeignFailed, match="quagga"):
        read_foreign("quagga:/tmp")


def test_kernel_routes_of_one_hop_and_of_many() -> None:
    told = json.loads("""[{"dst":"192.168.1.101","gateway":"192.168.1.12","metric":20,"flags":[]},
    {"dst":"192.168.1.100","protocol":"bgp","metric":20,"flags":[],"nexthops":[
    {"gateway":"192.168.1.12","dev":"eth0"},{"gateway":"192.168.1.11","dev":"eth0"}]}]""")
    assert kernel_rows(told) == (
        RouteRow("192.168.1.100/32", ("192.168.1.11", "192.168.1.12"), 20),
        RouteRow("192.168.1.101/32", ("192.168.1.12",), 20),
    )
