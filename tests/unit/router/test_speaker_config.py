"""The JSON line between agent and speaker: round trip, defaults, and errors that name the field."""

import pytest

from cairn.desired.prefix_filter import parse_filter
from cairn.desired.routes import Announcement, BfdNeighbour, PeerSpec, SpeakerConfig
from cairn.desired.routes_json import ConfigError, load_config, save_config
from cairn.net import parse_address, parse_network

FULL = SpeakerConfig(
    router_id="192.168.1.10",
    asn=64512,
    peers=(
        PeerSpec("router", parse_address("192.168.1.1"), 64512, 64512),
        PeerSpec(
            "upstream",
            parse_address("2001:db8::1"),
            4200000000,
            port=1179,
            source=parse_address("2001:db8::2"),
            hold_time_s=9,
            keepalive_s=3,
            connect_retry_s=120,
            password="s3cret",
            families=("ipv4/unicast", "ipv6/unicast"),
            next_hops=(parse_address("192.168.1.10"), parse_address("2001:db8::2")),
            graceful_restart_s=120,
            max_prefixes=100,
            ttl=2,
            import_filter=parse_filter("deny any"),
            export_filter=parse_filter("permit 192.168.1.0/24"),
        ),
    ),
    routes=(
        Announcement(parse_network("192.168.1.100/32")),
        Announcement(
            parse_network("2001:db8:1::/64"),
            next_hop=parse_address("2001:db8::3"),
            local_pref=200,
            med=5,
            communities=(64512 << 16 | 7, 0xFFFFFF01),
            large_communities=((64512, 1, 2),),
            weight=4,
        ),
    ),
    bfd=(
        BfdNeighbour(parse_address("192.168.1.11"), parse_address("192.168.1.10")),
        BfdNeighbour(parse_address("fd00::2"), parse_address("fd00::1"), 50, 5),
    ),
)


def test_round_trip() -> None:
    line = save_config(FULL)
    assert line.count(b"\n") == 1
    assert load_config(line) == FULL


def test_least_a_peer_needs() -> None:
    config = load_config(
        b'{"router_id":"10.0.0.1","asn":1,"peers":[{"name":"a","address":"10.0.0.2","local_asn":1}]}'
    )
    assert config.peers[0].remote_asn is None
    assert config.peers[0].hold_time_s == 90


def test_well_known_communities_have_names() -> None:
    route = b'{"prefix":"10.0.0.1/32","communities":["no-export"]}'
    line = b'{"router_id":"1.1.1.1","asn":1,"routes":[' + route + b"]}"
    assert load_config(line).routes[0].communities == (0xFFFFFF01,)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"nonsense", "configuration"),
        (b"[]", "config"),
        (b'{"asn":1}', "router_id"),
        (b'{"router_id":"x","asn":1}', "router_id"),
        (b'{"router_id":"1.1.1.1","asn":0}', "asn"),
        (b'{"router_id":"1.1.1.1","asn":1,"colour":2}', "colour"),
        (b'{"router_id":"1.1.1.1","asn":1,"peers":[3]}', "peers"),
        (b'{"router_id":"1.1.1.1","asn":1,"peers":[{"name":"a"}]}', "address"),
        (b'{"router_id":"1.1.1.1","asn":1,"routes":[{"prefix":"1.2.3.4/24"}]}', "prefix"),
        (
            b'{"router_id":"1.1.1.1","asn":1,"peers":[{"name":"a","address":"1.1.1.2","local_asn":1,"hold_time_s":2}]}',
            "hold",
        ),
    ],
)
def test_errors_name_the_field(line: bytes, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_config(line)
