"""Pods that are closed since the maps are full, told of at the pods.

PolicyMaps  ->  Events PolicyMapFull on pods, or on the Node for its own policy
"""

from collections.abc import Callable, Mapping

from cairn.abi.structs import Identity
from cairn.agent.policy_tell import PolicyTell
from cairn.apply.policy_maps import PolicyMaps
from cairn.desired.endpoint import PodEndpoint
from cairn.kube.metadata import Key, Object
from cairn.libbpf import Map
from cairn.net import Address

FULL = "PolicyMapFull"


class PolicyTroubles:
    """Tells of one node's closed pods."""

    def __init__(self, tell: PolicyTell, maps: Mapping[str, Map], node: Object) -> None:
        self._tell = tell
        self._maps = maps
        self._node = node
        self._told: dict[Key, Object] = {}

    def look(
        self,
        maps: PolicyMaps,
        wired: Mapping[Key, PodEndpoint],
        identity_at: Callable[[Address], int],
    ) -> None:
        """Tell of pods that are closed now, and of those that are not any more."""
        if not maps.failed and not self._told:
            return
        closed: dict[Key, Object] = {}
        failed = maps.failed
        for key, endpoint in wired.items():
            full = next(
                (failed[i] for i in map(identity_at, endpoint.addresses) if i in failed), ""
            )
            if full:
                about = closed[key] = _pod(endpoint)
                self._tell.wrong(about, FULL, self._text(full, "the pod is closed"))
        if (full := failed.get(Identity.HOST, "")) and Identity.HOST in failed:
            about = closed[Key("", "")] = self._node
            self._tell.wrong(
                about, FULL, self._text(full, "policies about the node stay as before")
            )
        for key in self._told.keys() - closed.keys():
            self._tell.well(self._told[key], FULL, "its policy fits and is in force")
        self._told = closed

    def _text(self, name: str, what: str) -> str:
        size = self._maps[name].shape.max_entries
        return (
            f"map {name} is full ({size:,} entries): {what}; "
            f"enlarge it: cairn agent --map-size {name}={2 * size}"
        )


def _pod(endpoint: PodEndpoint) -> Object:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "namespace": endpoint.namespace,
            "name": endpoint.pod or endpoint.container_id,
            "uid": endpoint.uid,
        },
    }
