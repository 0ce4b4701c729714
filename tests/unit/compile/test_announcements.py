"""Which peers a node has and which addresses it announces."""

from typing import Any

import pytest

from cairn.compile.announcements import Announced, compile_speaker
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
    return {service.key: Announced(service, local)}


def prefixes(config: NodeConfig, services: dict[Key, Announced]) -> list[str]:
    speaker, _ = compile_speaker(config, NODE, services, {})
    assert speaker is not None
    return [str(route.prefix) for route in speaker.routes]


def test_a_node_without_ipv4_says_why_it_does_not_peer() -> None:
    six = NodeFacts.from_object(
        {
            "metadata": {"name": "node-6"},
            "spec": {"addresses": [{"type": "InternalIP", "ip": "2001:db8::6"}]},
        }
    )
    speaker, ignored = compile_speaker(config(), six, announced(), {})
    assert speaker is None
    assert "node-6 has no IPv4 address" in ignored[0]


EVERYWHERE: dict[str, Any] = {"annotations": {"cairn.io/announce": "all-nodes"}}
SOME_KEY = {"matchExpressions": [{"key": "k", "operator": "NotIn", "values": ["never-used-value"]}]}
NAMED = {"matchLabels": {"io.kubernetes.service.name": "web"}}


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
