"""Ask the agents of a cluster's nodes about their load balancers, through the Kubernetes API.

    kubeconfig, arguments of `cairn lb`  ->  each agent's own answer, by node

The command runs itself in the agents' containers (`cairn lb … --local -o json`), as a person
would with `kubectl exec`: no port is opened for it, and who may ask is the cluster's decision
(pods/exec).

Invariants  A node that does not answer is named; the others' answers are shown.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from cairn.cli.render import lab_kubeconfig
from cairn.diagnose.lb_merge import Names, names_of
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.pod_exec import exec_in_pod
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key, Object, key_of
from cairn.kube.node import NodeFacts
from cairn.kube.resource import CILIUM_NODES, ENDPOINT_SLICES, PODS, SERVICES
from cairn.kube.service import Service

AGENTS = "k8s-app=cairn"
"""Label of the agents' pods."""
CONTAINER = "agent"
ADDRESS = "ADDRESS"
"""Word of a command that stands for the address of the node that it runs on."""


class NoAgent(Exception):
    """There is nobody to ask; the text says what to do."""


class Agent(NamedTuple):
    """One node's agent."""

    pod: Key
    """Its pod."""
    address: str
    """Of its node: it has the node's own network."""


@dataclass(slots=True)
class Answers:
    """What the agents said."""

    by_node: dict[str, Any] = field(default_factory=dict)
    """Decoded JSON of each that answered, in order of name."""
    failed: list[str] = field(default_factory=list)
    """A line for each that did not."""


class ClusterView:
    """One cluster, for the time of a command."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @staticmethod
    def client(kubeconfig: str | None) -> Client:
        """Return the client of the cluster that the user means."""
        return Client.connect(kubeconfig or lab_kubeconfig())

    async def ask(self, words: list[str], node: str | None, *, one: bool = False) -> Answers:
        """Have `cairn lb WORDS --local` run by the agents, as `run` does."""
        return await self.run(["lb", *words, "--local"], node, one=one)

    async def run(self, words: list[str], node: str | None = None, *, one: bool = False) -> Answers:
        """Have `cairn WORDS -o json` run by the agents: of `node`, of the first, or of all.

        `ADDRESS` among the words stands for the node's address.

        Raises ApiError if the API server does not answer, NoAgent if no agent runs there.
        """
        agents = await self._agents(node)
        argv = ["cairn", *words, "-o", "json"]
        chosen = dict(list(agents.items())[:1]) if one else agents
        said = await asyncio.gather(
            *(
                self._ask(agent.pod, [agent.address if word == ADDRESS else word for word in argv])
                for agent in chosen.values()
            )
        )
        answers = Answers()
        for name, answer in zip(chosen, said, strict=True):
            if isinstance(answer, str):
                answers.failed.append(f"{name}: {answer}")
            else:
                answers.by_node[name] = answer
        return answers

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

    async def _agents(self, node: str | None) -> dict[str, Agent]:
        pods, _ = await self._client.list(PODS, label_selector=AGENTS)
        found = {name: _agent(pod) for pod in pods if (name := _running_on(pod))}
        if node is not None:
            found = {name: agent for name, agent in found.items() if name == node}
        if not found:
            where = f"on node {node}" if node else "in this cluster"
            raise NoAgent(
                f"no agent runs {where}: kubectl get pods --all-namespaces -l {AGENTS} -o wide"
            )
        return dict(sorted(found.items()))

    async def _ask(self, pod: Key, argv: list[str]) -> Any:
        """Return the agent's answer, or what went wrong as a text."""
        try:
            done = await exec_in_pod(self._client, pod, CONTAINER, argv)
        except ApiError as error:
            return error.message
        if done.code:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            return said[-1].removeprefix("cairn ") if said else f"exit status {done.code}"
        try:
            return msgspec.json.decode(done.stdout)
        except msgspec.DecodeError:
            return f"unreadable answer {done.stdout[:60]!r}: is its version another?"


def _agent(pod: Object) -> Agent:
    return Agent(key_of(pod), str((pod.get("status") or {}).get("podIP") or ""))


def _running_on(pod: Object) -> str:
    """Return the node of an agent's pod that runs, else nothing."""
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return ""
    if (pod.get("status") or {}).get("phase") != "Running":
        return ""
    return str((pod.get("spec") or {}).get("nodeName") or "")
