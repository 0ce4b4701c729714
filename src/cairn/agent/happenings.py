"""What this agent does, for those who ask for its events.

policies taken up, maps written, pods wired  ->  AgentEvents
"""

import asyncio
import time
from collections.abc import Collection

from cairn.agent.flow_ends import labels_of_policy
from cairn.agent.policies import Policies
from cairn.apply.policy_maps import PolicyChange
from cairn.desired.endpoint import PodEndpoint
from cairn.hubble.agent_event import (
    AddressKnown,
    AgentEvents,
    EndpointChanged,
    PolicyChanged,
    Regenerated,
)
from cairn.kube.policy.rule import Policy


class Happenings:
    """Tells events, with what is known of them."""

    def __init__(self, policies: Policies) -> None:
        self.events = AgentEvents(time.time_ns)
        """The last of them."""
        self._policies = policies
        self._loop = asyncio.get_running_loop()
        self._revision = 0
        policies.cluster.on_policies = self._policy
        policies.keeper.on_applied = self._applied

    def wired(self, endpoint: PodEndpoint, *, gone: bool = False) -> None:
        """Tell, from any thread, that a pod was wired, or its wire is gone."""
        self._loop.call_soon_threadsafe(self._wired, endpoint, gone)

    def _wired(self, endpoint: PodEndpoint, gone: bool) -> None:
        self.events.put(
            EndpointChanged(
                endpoint.host_ifindex,
                endpoint.namespace,
                endpoint.pod,
                self._policies.of_endpoint(endpoint).labels,
                deleted=gone,
            )
        )

    def _policy(self, before: Collection[Policy], now: Collection[Policy]) -> None:
        self._revision += 1
        kept = {policy.ref for policy in now}
        changed = [(policy, False) for policy in now if policy not in before]
        gone = [(policy, True) for policy in before if policy.ref not in kept]
        for policy, deleted in (*gone, *changed):
            labels = labels_of_policy(policy.ref)
            event = PolicyChanged(labels, self._revision, len(policy.rules), deleted)
            self.events.put(event)

    def _applied(self, change: PolicyChange) -> None:
        engine = self._policies.engine
        for network, identity in change.networks.items():
            pod = None
            if network.prefixlen == network.max_prefixlen:
                pod = engine.pod_at(network.network_address)
            space, name = (pod.namespace, pod.name) if pod is not None else ("", "")
            self.events.put(AddressKnown(str(network), identity or 0, space, name))
        if change.subjects:
            self._regenerated(change.subjects.keys())

    def _regenerated(self, identities: Collection[int]) -> None:
        failed = self._policies.maps.failed
        for endpoint in tuple(self._policies.pods.wired.values()):
            now = self._policies.of_endpoint(endpoint)
            if now.identity in identities:
                full = failed.get(now.identity, "")
                error = f"map {full} is full" if full else ""
                self.events.put(Regenerated(endpoint.host_ifindex, now.labels, error))
