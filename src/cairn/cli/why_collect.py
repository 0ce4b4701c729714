"""What `cairn why` finds out, and only that: objects, then what the nodes on the way say.

    client, target, kubeconfig, router  ->  Question, Facts

Cost        one round of lists, one command in the agent of each node on the way, all at once
"""

import asyncio
import contextlib
from dataclasses import dataclass, replace

import msgspec

from cairn.cli.cluster_objects import POLICY_INPUTS, fetch
from cairn.cli.why_flows import flows_question, seen
from cairn.cli.why_lab import lab_hosts, read_host, read_lab_router, read_router_socket
from cairn.cli.why_lookup import in_hosts_file, look_up, servers_of
from cairn.cli.why_probe import probe
from cairn.cli.why_question import NodeQuestion
from cairn.diagnose.policy.layer7 import Request
from cairn.diagnose.policy.world import World
from cairn.diagnose.router_counters import growth
from cairn.diagnose.why.application_steps import places
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.name_steps import CLUSTER_DNS
from cairn.diagnose.why.node_steps import concerned
from cairn.diagnose.why.objects import daemon_pod, not_ready_nodes
from cairn.diagnose.why.parts import HostPart, Lookup, NodePart, RouterPart
from cairn.diagnose.why.question import (
    Question,
    Role,
    Target,
    find_client,
    find_target,
    make_question,
)
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.pod_exec import exec_in_pod
from cairn.kube.metadata import key_of
from cairn.kube.resource import (
    BGP_NODE_CONFIGS,
    BGP_PEERING_POLICIES,
    CILIUM_NODES,
    L2_POLICIES,
    POOLS,
)
from cairn.lab.inventory import cairn_command
from cairn.lab.state import Lab, LabError
from cairn.linux import namespace
from cairn.net import Address, parse_address

KINDS = (*POLICY_INPUTS, POOLS, BGP_PEERING_POLICIES, BGP_NODE_CONFIGS, CILIUM_NODES, L2_POLICIES)
NODE_WAIT_S = 2.5
CONTAINER = "agent"
NOWHERE = "its host is not of a lab on this machine: run `ip route get` and `ip neigh` there"
NO_ROUTER = "there is no lab on this machine; say --router unix:SOCKET of a `cairn router`"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user wants to know."""

    client: str
    target: Target
    router: str
    """lab, none, or unix:PATH; empty: the lab's if there is one."""
    probe: bool
    request: Request


async def collect(client: Client, asked: Asked, lab: Lab | None) -> tuple[Question, Facts]:
    """Return the question and what was found out; raises ApiError, NoSuchParty."""
    world = World.of(await fetch(client, KINDS))
    hosts = lab_hosts(lab)
    source = find_client(world, asked.client, hosts)
    target = find_target(world, asked.target.host, hosts)
    lookup = None
    if target.role is Role.NAME and source.role is not Role.POD:
        lookup = _look_up_outside(lab, source.name, target.name)
        target = replace(target, addresses=_parsed(lookup))
    question = make_question(world, source, target, asked.target, asked.request)
    facts = Facts(world, lookup=lookup)
    tried = await probe(client, question, world, lab) if asked.probe else None
    before, _ = await asyncio.to_thread(_router, lab, asked.router, question, facts)
    nodes, (host, host_why) = await asyncio.gather(
        _ask_nodes(client, question, facts, lab), asyncio.to_thread(_host, lab, question)
    )
    router, router_why = await asyncio.to_thread(_router, lab, asked.router, question, facts)
    if before is not None and router is not None:
        router = replace(router, grew=growth(before.counters, router.counters))
    said = {name: part for name, part in nodes.items() if isinstance(part, NodePart)}
    silent = {name: part for name, part in nodes.items() if isinstance(part, str)}
    if target.role is Role.NAME and source.role is Role.POD and source.node in said:
        lookup = said[source.node].lookup
        target = replace(target, addresses=_parsed(lookup))
        question = make_question(world, source, target, asked.target, asked.request)
    flows, flows_why, reach_s = seen(said, silent)
    return question, Facts(
        world,
        said,
        silent,
        router,
        router_why,
        host,
        host_why,
        lookup,
        tried,
        flows,
        flows_why,
        reach_s,
    )


def _parsed(lookup: Lookup | None) -> tuple[Address, ...]:
    return tuple(map(parse_address, lookup.addresses)) if lookup else ()


async def _ask_nodes(
    client: Client, question: Question, facts: Facts, lab: Lab | None
) -> dict[str, NodePart | str]:
    down = not_ready_nodes(facts.world)
    names = [name for name in concerned(question, facts) if name not in down]
    said = await asyncio.gather(
        *(_ask_node(client, name, _for_node(question, facts, name), facts, lab) for name in names)
    )
    return dict(zip(names, said, strict=True))


def _for_node(question: Question, facts: Facts, name: str) -> NodeQuestion:
    addresses = question.client.addresses
    version = question.address.version if question.address else 4
    client = next((str(a) for a in addresses if a.version == version), "")
    others = tuple(
        str(address)
        for other, node in facts.world.nodes.items()
        for address in node.internal_ips
        if other != name
    )
    peers = tuple(
        str(p.get("peerAddress"))
        for config in facts.world.of_kind("CiliumBGPNodeConfig")
        for i in (config.get("spec") or {}).get("bgpInstances") or ()
        for p in i.get("peers") or ()
    )
    dns = facts.world.services.get(CLUSTER_DNS)
    ends = [part.addresses for part in facts.world.slices.get(CLUSTER_DNS, ())]
    server = dns.cluster_ips[0] if dns and dns.cluster_ips else next((e[0] for e in ends if e), "")
    asks = question.target.role is Role.NAME and name == question.client.node
    served = question.service is not None and question.address is not None
    return NodeQuestion(
        str(question.address) if served else "",
        question.at or 0,
        question.protocol.name,
        client,
        tuple(place for place, node in places(question, facts).items() if node == name),
        (*others, *dict.fromkeys(peers)),
        question.target.name if asks else "",
        str(server) if asks else "",
        flows_question(question, facts),
    )


async def _ask_node(
    client: Client, name: str, asked: NodeQuestion, facts: Facts, lab: Lab | None
) -> NodePart | str:
    """Return what a node says, or why it says nothing."""
    argv = ["cairn", "why-node", msgspec.json.encode(asked).decode()]
    pod = daemon_pod(facts.world, name)
    try:
        if pod is None:
            raise ApiError(404, "", "no agent's pod is there")
        done = await exec_in_pod(client, key_of(pod), CONTAINER, argv, timeout_s=NODE_WAIT_S)
        code, out, err = done.code, done.stdout, done.stderr
    except ApiError as error:
        if lab is None or error.status == 0:
            return error.message
        code, out, err = await _in_lab(lab, name, argv)
    return _read(code, out, err)


async def _in_lab(lab: Lab, host: str, argv: list[str]) -> tuple[int, bytes, bytes]:
    """Run a command on a lab's host: the way to a node whose agent is dead."""
    words = [*cairn_command(), "lab", "exec", "--name", lab.name, host, "--", *argv]
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(NODE_WAIT_S):
            out, err = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return 1, b"", b"no answer in time"
    return process.returncode or 0, out, err


def _read(code: int, out: bytes, err: bytes) -> NodePart | str:
    if code:
        lines = err.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {code}"
    try:
        return msgspec.json.decode(out, type=NodePart)
    except msgspec.DecodeError:
        return f"unreadable answer {out[:60]!r}: is its version another?"


def _router(
    lab: Lab | None, how: str, question: Question, facts: Facts
) -> tuple[RouterPart | None, str]:
    kind, _, rest = how.partition(":")
    if kind == "unix":
        return read_router_socket(rest, question.address), ""
    if kind == "none" or question.client.inside:
        return None, "it is not on the way" if question.client.inside else "--router none"
    if lab is None:
        return None, NO_ROUTER
    wanted = [str(a) for node in facts.world.nodes.values() for a in node.internal_ips]
    wanted += [str(a) for a in (question.address, *question.client.addresses) if a]
    try:
        return read_lab_router(lab, question.address, tuple(wanted)), ""
    except LabError as error:
        return None, str(error)


def _host(lab: Lab | None, question: Question) -> tuple[HostPart | None, str]:
    if question.client.role is not Role.HOST:
        return None, NOWHERE
    if lab is None:
        return None, NOWHERE
    try:
        return read_host(lab, question.client.name, question.address), ""
    except LabError as error:
        return None, str(error)


def _look_up_outside(lab: Lab | None, host: str, name: str) -> Lookup:
    if lab is None:
        return Lookup("", (), "it can only be looked up from where the client is")
    etc = lab.host_etc(host)
    if known := in_hosts_file(etc / "hosts", name):
        return Lookup("its file /etc/hosts", known)
    servers = servers_of(etc / "resolv.conf")
    if not servers:
        return Lookup("nobody", (), "its resolv.conf names no server")
    try:
        return namespace.call_in(lab.netns(host), look_up, name, servers[0])
    except OSError as error:
        return Lookup(servers[0], (), str(error))
