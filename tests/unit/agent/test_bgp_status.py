"""The speaker's report becomes the node's BGP status."""

from typing import Any

from cairn.agent.bgp_status import BgpStatus
from cairn.kube.bgp_node_config import NodeConfig

CONFIG = NodeConfig.from_object(
    {
        "metadata": {"name": "node-1"},
        "spec": {
            "bgpInstances": [
                {
                    "name": "i",
                    "localASN": 64512,
                    "peers": [{"name": "r", "peerAddress": "192.168.1.1", "peerASN": 64512}],
                }
            ]
        },
    }
)


def report(state: str, **more: Any) -> dict[str, Any]:
    peer = {"address": "192.168.1.1", "state": state, "uptime_s": 5.0, "prefixes_announced": 1}
    return {"peers": [peer | more], "routes": [{"prefix": "192.168.1.100/32"}]}


def spell(*reports: dict[str, Any], reachable: bool = True, **more: Any) -> dict[str, Any]:
    status = BgpStatus()
    for one in reports:
        status.take(one)
    return status.spell(CONFIG, more.get("ignored", ()), reachable=reachable)


def test_an_established_session_counts_and_announces() -> None:
    status = spell(report("Established"))
    peer = status["bgpInstances"][0]["peers"][0]
    assert peer["peeringState"] == "established"
    assert peer["establishedTime"].endswith("Z")
    assert status["sessions"] == "1/1"
    assert status["announcements"] == [{"prefix": "192.168.1.100/32"}]
    assert status["announced"] == 1


def test_a_session_that_is_down_says_why_and_announces_nothing() -> None:
    status = spell(report("Active", last_error="connection refused", uptime_s=None))
    peer = status["bgpInstances"][0]["peers"][0]
    assert peer["peeringState"] == "active"
    assert peer["lastError"] == "connection refused"
    assert "establishedTime" not in peer
    assert status["sessions"] == "0/1"
    assert status["announcements"] == []


def test_equal_reports_give_equal_statuses() -> None:
    status = BgpStatus()
    status.take(report("Established", messages_received=1))
    first = status.spell(CONFIG, (), reachable=True)
    status.take(report("Established", messages_received=2, uptime_s=17.0))
    assert status.spell(CONFIG, (), reachable=True) == first


def test_a_session_that_came_back_has_a_new_time() -> None:
    status = BgpStatus()
    status.take(report("Established", uptime_s=3600.0))
    first = status.spell(CONFIG, (), reachable=True)
    status.take(report("Idle", uptime_s=None))
    status.take(report("Established", uptime_s=0.0))
    peers = [
        s["bgpInstances"][0]["peers"][0] for s in (first, status.spell(CONFIG, (), reachable=True))
    ]
    assert peers[0]["establishedTime"] < peers[1]["establishedTime"]


def test_a_speaker_that_does_not_answer_is_a_condition() -> None:
    condition = spell(reachable=False)["conditions"][0]
    assert condition["status"] == "False"
    assert "does not answer" in condition["message"]


def test_a_router_without_ipv6_is_a_condition_with_the_count() -> None:
    why = "the peer does not take IPv6 unicast"
    condition = spell(report("Established", not_announced={why: 2}))["conditions"][0]
    assert condition["status"] == "False"
    assert condition["message"] == f"peer r: 2 prefixes are not announced: {why}"


def test_routes_are_counted_per_family() -> None:
    counts = {"IPv6 unicast": {"received": 0, "announced": 2}}
    families = ["IPv4 unicast", "IPv6 unicast"]
    status = spell(report("Established", families=families, counts=counts))
    assert status["bgpInstances"][0]["peers"][0]["routeCount"] == [
        {"afi": "ipv4", "safi": "unicast", "received": 0, "advertised": 0},
        {"afi": "ipv6", "safi": "unicast", "received": 0, "advertised": 2},
    ]


def test_what_is_not_honoured_is_a_condition() -> None:
    condition = spell(report("Established"), ignored=("peer r: Secret x",))["conditions"][0]
    assert condition["status"] == "False"
    assert condition["message"] == "peer r: Secret x"
