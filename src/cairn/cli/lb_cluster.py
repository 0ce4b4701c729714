"""What the agents of a cluster's nodes say of their load balancers, and what the API calls it.

kubeconfig, arguments of `cairn lb`  ->  each agent's own answer, by node
Services, EndpointSlices, nodes      ->  names
"""

import asyncio

from cairn.cli.agents import Answers, NoAgent, ask_agents
from cairn.cli.render import lab_kubeconfig
from cairn.diagnose.lb_merge import Names, names_of
from cairn.drive.kube_client import Client
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.node import NodeFacts
from cairn.kube.resource import CILIUM_NODES, ENDPOINT_SLICES, SERVICES
from cairn.kube.service import Service

__all__ = ["ClusterView", "NoAgent"]


class ClusterView:
    """One cluster, for the time of a command."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @staticmethod
    def client(kubeconfig: str | None) -> Client:
        """Return the client of the cluster that the user means."""
        return Client.connect(kubeconfig or lab_kubeconfig())

    async def ask(self, words: list[str], node: str | None, *, one: bool = False) -> Answers:
        """Have `cairn lb WORDS --local` run by the agents: of `node`, of the first, or of all.

        Raises ApiError if the API server does not answer, NoAgent if no agent runs there.
        """
        return await ask_agents(self._client, ["lb", *words, "--local"], node, one=one)

    async def names(self) -> Names:
        """Return what the API objects call frontends and nodes."""
        services, slices, nodes = await asyncio.gather(
            self._client.list(SERVICES),
            self._client.list(ENDPOINT_SLICES),
            self._client.list(CILIUM_NODES),
        )
        return names_of(
            map(Service.from_object, services[0]),
            map(EndpointSlice.from_object, slices[0]),
            map(NodeFacts.from_object, nodes[0]),
        )
