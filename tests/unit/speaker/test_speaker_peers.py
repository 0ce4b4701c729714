"""From a node's desired BGP state to the protocol machine's values."""

from cairn.bgp.family import IPV4_UNICAST, IPV6_UNICAST
from cairn.desired.prefix_filter import parse_filter
from cairn.desired.routes import Announcement, PeerSpec, SpeakerConfig
from cairn.net import parse_address, parse_network
from cairn.speaker.peers import SHARE_BYTES_PER_S, originated, peer_config, peer_configs

ROUTER = parse_address("192.168.1.1")


def test_internal_peer_keeps_the_systems_ttl() -> None:
    assert peer_config(PeerSpec("r", ROUTER, 64512, 64512)).multihop_ttl is None


def test_external_peer_is_on_the_link_unless_told_otherwise() -> None:
    assert peer_config(PeerSpec("r", ROUTER, 64512, 64513)).multihop_ttl == 1
    assert peer_config(PeerSpec("r", ROUTER, 64512, 64513, ttl=4)).multihop_ttl == 4


def test_everything_else_is_passed_on() -> None:
    spec = PeerSpec(
        "r",
        ROUTER,
        64512,
        64512,
        families=("ipv6/unicast", "ipv4/unicast"),
        next_hops=(parse_address("2001:db8::10"),),
        export_filter=parse_filter("permit 192.168.1.0/24"),
        password="x",
        port=1790,
    )
    config = peer_configs(SpeakerConfig("1.1.1.1", 64512, (spec,)))["r"]
    assert config.families == (IPV6_UNICAST, IPV4_UNICAST)
    assert (config.password, config.port) == ("x", 1790)
    assert config.next_hops == spec.next_hops
    assert config.export_filter is spec.export_filter


def test_routes_without_next_hop_leave_it_to_each_session() -> None:
    prefix = parse_network("192.168.1.100/32")
    config = SpeakerConfig(
        "1.1.1.1", 64512, routes=(Announcement(prefix, communities=(64512 << 16 | 5,)),)
    )
    attributes = originated(config)[prefix]
    assert attributes.next_hop is None
    assert [str(one) for one in attributes.communities] == ["64512:5"]


def test_a_weight_is_a_link_bandwidth() -> None:
    """draft-ietf-idr-link-bandwidth s2: type 0x40, subtype 4, the AS, octets per second."""
    prefix = parse_network("192.168.1.100/32")
    config = SpeakerConfig("1.1.1.1", 64512, routes=(Announcement(prefix, weight=3),))
    (mark,) = originated(config)[prefix].extended_communities
    assert (mark.type, mark.subtype) == (0x40, 4)
    assert mark.bandwidth_bytes_per_s == 3 * SHARE_BYTES_PER_S
    assert mark.value >> 32 == 64512


def test_equal_states_are_equal_configurations() -> None:
    first, second = (
        peer_config(PeerSpec("r", ROUTER, 1, 1, import_filter=parse_filter("deny any")))
        for _ in range(2)
    )
    assert first == second
