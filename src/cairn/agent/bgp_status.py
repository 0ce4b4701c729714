"""What the speaker reports, as the status of the node's CiliumBGPNodeConfig.

    the speaker's state  ->  {"bgpInstances", "announcements", "conditions"}

Invariants  Equal reports give equal statuses: counters that always move are left out.
Standards   CiliumBGPNodeConfig v2alpha1, status
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cairn.kube.bgp_node_config import Instance, NodeConfig, Peer

ESTABLISHED = "established"
CONDITION = "cairn.io/Honoured"


class BgpStatus:
    """The last report of the speaker."""

    def __init__(self) -> None:
        self._peers: dict[str, Mapping[str, Any]] = {}
        self._routes: tuple[str, ...] = ()
        self._since: dict[str, str] = {}

    def take(self, state: Mapping[str, Any]) -> None:
        """Take a report."""
        self._peers = {str(peer["address"]): peer for peer in state.get("peers") or ()}
        self._routes = tuple(sorted(route["prefix"] for route in state.get("routes") or ()))
        self._since = {a: since for a, since in self._since.items() if a in self._peers}
        for address, peer in self._peers.items():
            if _state(peer) != ESTABLISHED:
                self._since.pop(address, None)
            elif address not in self._since:
                started = datetime.now(UTC) - timedelta(seconds=peer.get("uptime_s") or 0)
                self._since[address] = started.strftime("%Y-%m-%dT%H:%M:%SZ")

    def lose(self) -> None:
        """Take that the speaker cannot be asked."""
        self._peers = {}
        self._routes = ()

    @property
    def announced(self) -> frozenset[str]:
        """The prefixes that at least one peer was told."""
        told = any(
            _state(peer) == ESTABLISHED and peer.get("prefixes_announced")
            for peer in self._peers.values()
        )
        return frozenset(self._routes) if told else frozenset()

    def spell(
        self, config: NodeConfig, ignored: tuple[str, ...], *, reachable: bool
    ) -> dict[str, Any]:
        """Return the status to write."""
        problems = [*ignored, *self._not_announced(config)]
        message = "; ".join(problems) if reachable else "the speaker on this node does not answer"
        good = reachable and not problems
        instances = [self._instance(instance) for instance in config.instances]
        announced = [prefix for prefix in self._routes if prefix in self.announced]
        return {
            "bgpInstances": instances,
            "sessions": _spell_sessions(instances),
            "announcements": [{"prefix": prefix} for prefix in announced],
            "announced": len(announced),
            "conditions": [
                {
                    "type": CONDITION,
                    "status": "True" if good else "False",
                    "reason": "Honoured" if good else "NotHonoured",
                    "message": message or "every peer is configured",
                }
            ],
        }

    def _not_announced(self, config: NodeConfig) -> list[str]:
        """Return which peers with a session are not told everything, and why."""
        lines = []
        for instance in config.instances:
            for peer in instance.peers:
                report = self._peers.get(str(peer.address), {})
                for reason, count in (report.get("not_announced") or {}).items():
                    some = "1 prefix is" if count == 1 else f"{count} prefixes are"
                    lines.append(f"peer {peer.name}: {some} not announced: {reason}")
        return lines

    def _instance(self, instance: Instance) -> dict[str, Any]:
        return {
            "name": instance.name,
            "localASN": instance.asn,
            "peers": [self._peer(peer) for peer in instance.peers],
        }

    def _peer(self, peer: Peer) -> dict[str, Any]:
        address = str(peer.address)
        report = self._peers.get(address, {})
        state = _state(report)
        spelled: dict[str, Any] = {
            "name": peer.name,
            "peerAddress": address,
            "peerASN": peer.asn,
            "peeringState": state,
        }
        if state == ESTABLISHED:
            spelled["establishedTime"] = self._since[address]
            spelled["routeCount"] = _route_counts(report)
        elif report.get("last_error"):
            spelled["lastError"] = report["last_error"]
        return spelled


def _route_counts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the counts of every family that the session exchanges; "IPv6 unicast" is ipv6."""
    counts = report.get("counts") or {}
    return [
        {
            "afi": family.split()[0].lower(),
            "safi": family.split()[-1].lower(),
            "received": (counts.get(family) or {}).get("received") or 0,
            "advertised": (counts.get(family) or {}).get("announced") or 0,
        }
        for family in report.get("families") or ()
    ]


def _state(report: Mapping[str, Any]) -> str:
    return str(report.get("state") or "unknown").lower()


def _spell_sessions(instances: list[dict[str, Any]]) -> str:
    """Return "established/configured"."""
    states = [peer["peeringState"] for instance in instances for peer in instance["peers"]]
    return f"{states.count(ESTABLISHED)}/{len(states)}"
