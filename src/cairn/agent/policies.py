"""The parts that bring policies into force on one node, wired.

client, maps, pods of the node  ->  PolicyKeeper with all that it needs
"""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

from cairn.abi.structs import EndpointFlag, Identity
from cairn.agent.cluster import Cluster
from cairn.agent.endpoint_publisher import EndpointPolicy
from cairn.agent.endpoint_store import EndpointStore
from cairn.agent.envoy import Envoy
from cairn.agent.policy import PolicyKeeper
from cairn.agent.policy_admission import Admission
from cairn.agent.policy_cluster import ObjectKey, PolicyCluster
from cairn.agent.policy_pods import PolicyPods
from cairn.agent.policy_proxies import PolicyProxies
from cairn.agent.policy_record import keep_records, load_rules
from cairn.agent.policy_store import PolicyStore
from cairn.agent.policy_tell import PolicyTell
from cairn.agent.policy_troubles import PolicyTroubles
from cairn.agent.redirects import Redirects
from cairn.apply.policy_maps import PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.compile.policy.engine import Engine
from cairn.desired.endpoint import PodEndpoint
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key, Object
from cairn.kube.node import Node
from cairn.kube.policy.rule import Policy
from cairn.libbpf import Map
from cairn.net import Address
from cairn.observe.drops import Names

PROXY_ABSENT = "ProxyAbsent"


class Policies:
    """Policies on one node."""

    def __init__(
        self,
        client: Client,
        node: Node,
        addresses: tuple[Address, ...],
        *,
        cluster: Cluster,
        endpoints: EndpointStore,
        maps: Mapping[str, Map],
        run: Path,
        recorder: EventRecorder,
    ) -> None:
        """`addresses`: those of the node; `run`: where records are kept."""
        self._run = run
        self._recorder = recorder
        self._node = _about(node)
        self._tell = PolicyTell(recorder)
        self.engine = Engine(node.name)
        """What policies come to."""
        self.pods = PolicyPods(node.name, self.engine, endpoints)
        """The pods of the node."""
        self.redirects = Redirects(run / "redirects.json", absent=self._absent)
        """What proxies serve."""
        self._proxies = PolicyProxies(client, run, node.name, tell=self._tell_node)
        self.redirects.requests = self._proxies.requests
        self.redirects.names = self._proxies.names
        self.rules = RuleNumbers(load_rules(run / "policy-rules.json"))
        """Numbers of rules, as drops and counters name them."""
        self.maps = PolicyMaps(maps, self.rules, self.redirects)
        """What the data plane holds."""
        self._store = PolicyStore(run / "policies")
        self.cluster = PolicyCluster(
            client,
            (node.name, addresses),
            engine=self.engine,
            cluster=cluster,
            pods=self.pods,
            store=self._store,
            tell=self._tell,
        )
        """The objects."""
        self._admission = Admission(client, self.pods)
        self.keeper = self._make_keeper(maps)
        """Who does it."""

    def _make_keeper(self, maps: Mapping[str, Map]) -> PolicyKeeper:
        return PolicyKeeper(
            self.engine,
            self.cluster,
            self.pods,
            self.maps,
            self.redirects,
            admission=self._admission,
            troubles=PolicyTroubles(self._tell, maps, self._node),
        )

    def runners(self) -> list[Coroutine[Any, Any, None]]:
        """Return what must run from the beginning."""
        record = keep_records(
            self._run / "policy-rules.json", self.rules, lambda: self.maps.rules, self._store
        )
        return [
            *self.cluster.runners(),
            *self._proxies.runners(),
            self.redirects.run(),
            record,
        ]

    def about_node(self) -> Iterator[Policy]:
        """Yield the policies in force that are about this node itself."""
        for ref in self.engine.policies_of(int(Identity.HOST)):
            what = ObjectKey(ref.kind, Key(ref.namespace, ref.name))
            yield from (p for p in self.cluster.policies.get(what, ()) if p.ref == ref)

    async def admit(self, endpoint: PodEndpoint) -> None:
        """Return when a new pod's policy is in force; raises NotAdmitted."""
        await self._admission.admit(endpoint)

    @property
    def requests(self) -> Envoy:
        """Who judges requests."""
        return self._proxies.requests

    def unwire_from(self, loop: asyncio.AbstractEventLoop, endpoint: PodEndpoint) -> None:
        """Take note, from another thread, that a wire is gone."""
        loop.call_soon_threadsafe(self.keeper.unwire, endpoint)

    @property
    def names(self) -> Names:
        """What people call rules and addresses."""
        return Names(self.rules.ref, self._host)

    def of_endpoint(self, endpoint: PodEndpoint) -> EndpointPolicy:
        """Return how a pod of this node stands with policies."""
        identity = self.maps.identity(endpoint.addresses[0]) or 0
        flags = self.maps.flags(identity)
        labels = self.engine.labels_of(identity) if identity else {}
        return EndpointPolicy(
            identity,
            tuple(sorted(f"k8s:{key}={value}" for key, value in labels.items())),
            ingress=bool(flags & EndpointFlag.INGRESS),
            egress=bool(flags & EndpointFlag.EGRESS),
            closed=bool(flags & EndpointFlag.CLOSED),
        )

    def _host(self, address: Address) -> str:
        pod = self.engine.pod_at(address)
        return str(pod) if pod is not None and pod.namespace else ""

    def _absent(self, text: str) -> None:
        if text:
            self._tell.wrong(self._node, PROXY_ABSENT, text)
        else:
            self._tell.well(self._node, PROXY_ABSENT, "all proxies that policies need are there")

    def _tell_node(self, reason: str, message: str, warning: bool) -> None:
        self._recorder.record(self._node, reason, message, warning=warning)


def _about(node: Node) -> Object:
    metadata = {"name": node.name, "uid": node.metadata.uid}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
