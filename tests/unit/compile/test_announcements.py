"""Which peers a node has and which addresses it announces."""

from typing import Any

import pytest

from cairn.compile.announcements import Announced, bgp_identifier, compile_speaker
from cairn.desired.routes import IPV4_UNICAST, IPV6_UNICAST
from cairn.kube.bgp_node_config import NodeConfig
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.service import Service

NODE = NodeFacts.from_object(
    {
        "metadata": {"name": "node-1"},
        "spec": {
            "addresses": [{"type": "InternalIP", "ip": "192.168.1.10"}],
            "ipam": {"podCIDRs": ["10.244.1.0/24"]},
        },
    }
)
WEB = Key("default", "web")
PEER: dict[str, Any] = {"name": "router", "peerAddress": "192.168.1.1", "peerASN": 64512}


def config(peer: dict[str, Any] | None = None, **instance: Any) -> NodeConfig:
    base = {"name": "i", "localASN": 64512, "serviceSelector": {}, "peers": [PEER | (peer or {})]}
    return NodeConfig.from_object(
        {"metadata": {"name": "node-1"}, "spec": {"bgpInstances": [base | instance]}}
    )


def announced(
    local: bool = True, *, ip: str = "192.168.1.100", **metadata: Any
) -> dict[Key, Announced]:
    service = Service.from_object(
        {
            "metadata": {"namespace": "default", "name": "web"} | metadata,
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
        }
    )
    return {service.key: Announced(service, {4: 2, 6: 2} if local else {})}


def node(*ips: str, name: str = "node-1") -> NodeFacts:
    addresses = [{"type": "InternalIP", "ip": ip} for ip in ips]
    return NodeFacts.from_object({"metadata": {"name": name}, "spec": {"addresses": addresses}})


def prefixes(config: NodeConfig, services: dict[Key, Announced]) -> list[str]:
    speaker, _ = compile_speaker(config, NODE, services, {})
    assert speaker is not None
    return [str(route.prefix) for route in speaker.routes]


def test_a_node_without_ipv4_has_an_identifier_of_its_own() -> None:
    six, seven = node("2001:db8::6", name="node-6"), node("2001:db8::7", name="node-7")
    router = {"peerAddress": "2001:db8::1"}
    speaker, ignored = compile_speaker(config(router), six, announced(ip="2001:db8::5"), {})
    assert speaker is not None
    assert ignored == ()
    (peer,) = speaker.peers
    assert (peer.families, list(map(str, peer.next_hops))) == ((IPV6_UNICAST,), ["2001:db8::6"])
    first, other = bgp_identifier(six), bgp_identifier(seven)
    assert (speaker.router_id, first != other) == (first, True)
    assert 1 <= int(first.split(".")[0]) <= 126


V4, V6 = {"afi": "ipv4", "safi": "unicast"}, {"afi": "ipv6", "safi": "unicast"}
EVPN = {"afi": "l2vpn", "safi": "evpn"}
FOUR, SIX, BOTH = ["192.168.1.10"], ["2001:db8::10"], ["2001:db8::10", "192.168.1.10"]
FAMILIES: list[tuple[list[str], str, list[dict[str, str]], tuple[str, ...], str]] = [
    (FOUR, "192.168.1.1", [], (IPV4_UNICAST,), ""),
    (BOTH, "192.168.1.1", [], (IPV4_UNICAST, IPV6_UNICAST), ""),
    (BOTH, "2001:db8::1", [], (IPV6_UNICAST,), ""),
    (BOTH, "2001:db8::1", [V6, V4], (IPV4_UNICAST, IPV6_UNICAST), ""),
    (BOTH, "192.168.1.1", [V4], (IPV4_UNICAST,), ""),
    (BOTH, "192.168.1.1", [V6], (IPV6_UNICAST,), ""),
    (FOUR, "192.168.1.1", [V4, V6], (IPV4_UNICAST,), "no IPv6 routes, as node-1 has no IPv6"),
    (BOTH, "192.168.1.1", [V4, EVPN], (IPV4_UNICAST,), "family l2vpn/evpn is not known here"),
    (FOUR, "192.168.1.1", [V6], (), "none of its families can be exchanged: no IPv6 routes"),
    (["192.168.1.10", "fe80::1"], "192.168.1.1", [], (IPV4_UNICAST,), ""),
]


@pytest.mark.parametrize(("own", "peer", "families", "expected", "words"), FAMILIES)
def test_families_of_a_session(
    own: list[str],
    peer: str,
    families: list[dict[str, str]],
    expected: tuple[str, ...],
    words: str,
) -> None:
    told = config({"peerAddress": peer, "families": families})
    speaker, ignored = compile_speaker(told, node(*own), {}, {})
    assert speaker is not None
    assert tuple(f for p in speaker.peers for f in p.families) == expected
    assert len(ignored) == bool(words)
    assert all(words in line for line in ignored)


@pytest.mark.parametrize(
    ("own", "families", "words"),
    [
        (FOUR, [], "2001:db8::5/128: announced to nobody, as node-1 has no IPv6 address"),
        (BOTH, [V4], "2001:db8::5/128: announced to nobody, as no neighbor's families hold IPv6"),
        (BOTH, [], ""),
    ],
)
def test_an_address_that_no_session_carries_is_named(
    own: list[str], families: list[dict[str, str]], words: str
) -> None:
    told = config({"families": families})
    _, ignored = compile_speaker(told, node(*own), announced(ip="2001:db8::5"), {})
    assert len(ignored) == bool(words)
    assert all(line.startswith(words) for line in ignored)


def test_one_session_for_each_family_leaves_nothing_unsaid() -> None:
    raw = [PEER | {"families": [V4]}, PEER | {"name": "six", "peerAddress": "2001:db8::1"}]
    services = announced() | {Key("default", "b"): announced(ip="2001:db8::5")[WEB]}
    speaker, ignored = compile_speaker(config(peers=raw), node(*BOTH), services, {})
    assert speaker is not None
    assert ignored == ()
    assert [p.families for p in speaker.peers] == [(IPV4_UNICAST,), (IPV6_UNICAST,)]


EVERYWHERE: dict[str, Any] = {"annotations": {"cairn.io/announce": "all-nodes"}}
SOME_KEY = {"matchExpressions": [{"key": "k", "operator": "NotIn", "values": ["never-used-value"]}]}
NAMED = {"matchLabels": {"io.kubernetes.service.name": "web"}}


def test_an_address_is_announced_by_nodes_with_a_backend_of_its_family() -> None:
    """KEP-563: a dual-stack Service has an EndpointSlice for each family, filled on its own."""
    service = Service.from_object(
        {
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.5"}, {"ip": "2001:db8::5"}]}},
        }
    )
    expected = {4: ["192.0.2.5/32"], 6: ["2001:db8::5/128"]}
    for versions in ((), (4,), (6,), (4, 6)):
        services = {service.key: Announced(service, dict.fromkeys(versions, 1))}
        found = prefixes(config(), services)
        assert found == [prefix for version in versions for prefix in expected[version]]


@pytest.mark.parametrize(
    ("instance", "services", "expected"),
    [
        ({}, announced(), ["192.168.1.100/32"]),
        ({}, announced(local=False), []),
        ({}, announced(local=False, **EVERYWHERE), ["192.168.1.100/32"]),
        ({"serviceSelector": SOME_KEY}, announced(), ["192.168.1.100/32"]),
        ({"serviceSelector": {"matchLabels": {"public": "yes"}}}, announced(), []),
        ({"serviceSelector": NAMED}, announced(), ["192.168.1.100/32"]),
        ({"serviceSelector": None}, announced(), []),
        ({"exportPodCIDR": True}, announced(local=False), ["10.244.1.0/24"]),
        ({}, announced(ip="2001:db8::5"), ["2001:db8::5/128"]),
        ({}, announced(deletionTimestamp="2026-01-01T00:00:00Z"), []),
    ],
)
def test_announced_prefixes(
    instance: dict[str, Any], services: dict[Key, Announced], expected: list[str]
) -> None:
    assert prefixes(config(**instance), services) == expected


WEIGHTED = {"cairn.io/weighted": "true"}
ALL_NODES = {"cairn.io/announce": "all-nodes"}


def weighing(
    name: str, annotations: dict[str, str], backends: dict[int, int]
) -> dict[Key, Announced]:
    (entry,) = announced(name=name, annotations=annotations).values()
    return {entry.service.key: Announced(entry.service, backends)}


@pytest.mark.parametrize(
    ("services", "weight"),
    [
        (weighing("a", {}, {4: 3}), None),
        (weighing("a", {"cairn.io/weighted": "false"}, {4: 3}), None),
        (weighing("a", WEIGHTED, {4: 3, 6: 9}), 3),
        (weighing("a", WEIGHTED | ALL_NODES, {}), 1),
        (weighing("a", WEIGHTED, {4: 3}) | weighing("b", WEIGHTED, {4: 2}), 5),
        (weighing("a", WEIGHTED, {4: 3}) | weighing("b", {}, {4: 2}), None),
        (weighing("a", {}, {4: 3}) | weighing("b", WEIGHTED, {4: 2}), None),
        (weighing("a", WEIGHTED, {4: 3}) | weighing("b", {}, {}), 3),
    ],
)
def test_weights(services: dict[Key, Announced], weight: int | None) -> None:
    speaker, _ = compile_speaker(config(), NODE, services, {})
    assert speaker is not None
    assert [(str(r.prefix), r.weight) for r in speaker.routes] == [("192.168.1.100/32", weight)]


def test_a_peer_keeps_the_policys_timers_but_retries_within_seconds() -> None:
    timers = {"holdTimeSeconds": 90, "keepAliveTimeSeconds": 30, "connectRetryTimeSeconds": 120}
    restart = {"gracefulRestart": {"enabled": True, "restartTimeSeconds": 120}}
    speaker, ignored = compile_speaker(config({"timers": timers} | restart), NODE, {}, {})
    assert speaker is not None
    assert not ignored
    peer = speaker.peers[0]
    assert (peer.hold_time_s, peer.keepalive_s, peer.connect_retry_s) == (90, 30, 5)
    assert peer.graceful_restart_s == 120
    assert speaker.router_id == "192.168.1.10"


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        ({"peerAddress": "192.168.1"}, "192.168.1"),
        ({"authSecretRef": "bgp"}, "Secret bgp"),
        ({"importFilter": "allow all"}, "allow all"),
    ],
)
def test_a_peer_that_cannot_be_honoured_is_named_and_left_out(
    peer: dict[str, Any], words: str
) -> None:
    speaker, ignored = compile_speaker(config(peer), NODE, {}, {})
    assert speaker is not None
    assert speaker.peers == ()
    assert len(ignored) == 1
    assert words in ignored[0]


def test_a_secret_gives_the_password() -> None:
    speaker, _ = compile_speaker(config({"authSecretRef": "bgp"}), NODE, {}, {"bgp": "s3cret"})
    assert speaker is not None
    assert speaker.peers[0].password == "s3cret"


def test_multihop_means_nothing_within_one_autonomous_system() -> None:
    inside, _ = compile_speaker(config({"ebgpMultihop": 4}), NODE, {}, {})
    outside, _ = compile_speaker(config({"ebgpMultihop": 4, "peerASN": 65001}), NODE, {}, {})
    assert inside is not None
    assert outside is not None
    assert (inside.peers[0].ttl, outside.peers[0].ttl) == (None, 4)


def test_no_instance_no_part_in_bgp() -> None:
    empty = NodeConfig.from_object({"metadata": {"name": "node-1"}, "spec": {}})
    assert compile_speaker(empty, NODE, announced(), {}) == (None, ())
