"""The parts that bring policies into force on one node, wired.

client, maps, pods of the node  ->  PolicyKeeper with all that it needs
"""

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from cairn.agent.cluster import Cluster
from cairn.agent.endpoint_store import EndpointStore
from cairn.agent.policy import PolicyKeeper
from cairn.agent.policy_admission import Admission
from cairn.agent.policy_cluster import PolicyCluster
from cairn.agent.policy_pods import PolicyPods
from cairn.agent.policy_record import keep_records, load_rules
from cairn.agent.policy_store import PolicyStore
from cairn.agent.policy_tell import PolicyTell
from cairn.agent.policy_troubles import PolicyTroubles
from cairn.agent.redirects import NameProxy, Redirects, RequestProxy
from cairn.apply.policy_maps import PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.compile.policy.engine import Engine
from cairn.desired.endpoint import PodEndpoint
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import Client
from cairn.kube.metadata import Object
from cairn.kube.node import Node
from cairn.libbpf import Map
from cairn.net import Address

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
        requests: RequestProxy | None = None,
        names: NameProxy | None = None,
    ) -> None:
        """`addresses`: those of the node; `run`: where records are kept."""
        self._run = run
        self._node = _about(node)
        self._tell = PolicyTell(recorder)
        self.engine = Engine(node.name)
        """What policies come to."""
        self.pods = PolicyPods(node.name, self.engine, endpoints)
        """The pods of the node."""
        self.redirects = Redirects(
            run / "redirects.json", requests=requests, names=names, absent=self._absent
        )
        """What proxies serve."""
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
        self.keeper = PolicyKeeper(
            self.engine,
            self.cluster,
            self.pods,
            self.maps,
            self.redirects,
            admission=self._admission,
            troubles=PolicyTroubles(self._tell, maps, self._node),
        )
        """Who does it."""

    def runners(self) -> list[Coroutine[Any, Any, None]]:
        """Return what must run from the beginning."""
        record = keep_records(
            self._run / "policy-rules.json", self.rules, lambda: self.maps.rules, self._store
        )
        return [*self.cluster.runners(), self.redirects.run(), record]

    async def admit(self, endpoint: PodEndpoint) -> None:
        """Return when a new pod's policy is in force; raises NotAdmitted."""
        await self._admission.admit(endpoint)

    def unwire_from(self, loop: asyncio.AbstractEventLoop, endpoint: PodEndpoint) -> None:
        """Take note, from another thread, that a wire is gone."""
        loop.call_soon_threadsafe(self.keeper.unwire, endpoint)

    def _absent(self, text: str) -> None:
        self._tell.wrong(self._node, PROXY_ABSENT, text)


def _about(node: Node) -> Object:
    metadata = {"name": node.name, "uid": node.metadata.uid}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
