"""Ask the agents of a cluster's nodes, through the Kubernetes API.

    a command of `cairn`  ->  each agent's own answer, by node

The command runs in the agents' containers, as a person would with `kubectl exec`: no port is
opened for it, and who may ask is the cluster's decision (pods/exec).

Invariants  A node that does not answer is named; the others' answers are shown.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from cairn.drive.kube_client import ApiError, Client
from cairn.drive.pod_exec import exec_in_pod
from cairn.kube.metadata import Key, Object, key_of
from cairn.kube.resource import PODS

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


async def ask_agents(
    client: Client, words: list[str], node: str | None = None, *, one: bool = False
) -> Answers:
    """Have `cairn WORDS -o json` run by the agents: of `node`, of the first, or of all.

    `ADDRESS` among the words stands for the node's address.

    Raises ApiError if the API server does not answer, NoAgent if no agent runs there.
    """
    agents = await agents_of(client, node)
    argv = ["cairn", *words, "-o", "json"]
    chosen = dict(list(agents.items())[:1]) if one else agents
    said = await asyncio.gather(*(_ask(client, agent, argv) for agent in chosen.values()))
    answers = Answers()
    for name, answer in zip(chosen, said, strict=True):
        if isinstance(answer, str):
            answers.failed.append(f"{name}: {answer}")
        else:
            answers.by_node[name] = answer
    return answers


async def agents_of(client: Client, node: str | None) -> dict[str, Agent]:
    """Return the agents of `node`, or of all, by node; raises ApiError, NoAgent."""
    pods, _ = await client.list(PODS, label_selector=AGENTS)
    found = {name: _agent(pod) for pod in pods if (name := _running_on(pod))}
    if node is not None:
        found = {name: agent for name, agent in found.items() if name == node}
    if not found:
        where = f"on node {node}" if node else "in this cluster"
        raise NoAgent(
            f"no agent runs {where}: kubectl get pods --all-namespaces -l {AGENTS} -o wide"
        )
    return dict(sorted(found.items()))


async def _ask(client: Client, agent: Agent, argv: list[str]) -> Any:
    """Return the agent's answer, or what went wrong as a text."""
    words = [agent.address if word == ADDRESS else word for word in argv]
    try:
        done = await exec_in_pod(client, agent.pod, CONTAINER, words)
    except ApiError as error:
        return error.message
    if done.code:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        prefix = f"cairn {words[1]}: "
        return said[-1].removeprefix(prefix) if said else f"exit status {done.code}"
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
