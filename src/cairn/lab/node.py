"""Add a node to a running lab, or take one away.

lab, number  ->  a host plugged in and its kubelet started;  or all of it removed
"""

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path

from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key
from cairn.kube.resource import NODES
from cairn.lab import cluster, control, faults, inventory
from cairn.lab.hosts import plug_in, unplug, write_host_files
from cairn.lab.screen import Screen
from cairn.lab.state import Lab, LabError, exclusive, save_lab
from cairn.lab.teardown import remove_folder
from cairn.lab.topology import MAX_NODES, home_network, node_host, node_name
from cairn.lab.up import add_number, prepare_node, write_keys
from cairn.linux import cgroup, namespace

LEAVE_S = 5.0
POLL_S = 0.05


def add_node(lab: Lab, *, far: bool = False) -> str:
    """Add the next node and wait until it is Ready; return its name."""
    free = [number for number in range(1, MAX_NODES + 1) if number not in lab.nodes]
    if not free:
        raise LabError(f"lab {lab.name} has {MAX_NODES} nodes, which is the most")
    number, screen = free[0], Screen()
    with exclusive(lab):
        grown = add_number(lab, number, far=far)
        plug_in(grown, node_host(number, far=far))
        save_lab(grown)
        write_host_files(grown, home_network(grown.nodes, grown.far))
        prepare_node(grown, number)
        write_keys(grown)
        control.run(grown, inventory.kubelet_process(grown, number))
        with screen.step(f"{node_name(number)} Ready"):
            asyncio.run(_wait_ready(grown, node_name(number)))
    return node_name(number)


def remove_node(lab: Lab, node: str) -> None:
    """Take a node away in order: out of the cluster, its routes withdrawn, then its processes.

    For a node that dies without a word there is `cairn lab fault partition`.
    """
    numbers = {node_name(number): number for number in lab.nodes}
    if node not in numbers:
        raise LabError(f"no node {node!r} in lab {lab.name}; it has: {', '.join(numbers)}")
    if len(numbers) == 1:
        raise LabError(f"{node} is the lab's only node; use cairn lab down --name {lab.name}")
    with exclusive(lab):
        kubelet = inventory.kubelet_process(lab, numbers[node]).name
        for target in (node, kubelet):
            faults.clear(lab, target=target)
        control.command(lab, "forget", kubelet)
        asyncio.run(_leave(lab, node))
        group = lab.group / node
        cgroup.kill(group)
        _delete_pods(lab, node)
        unplug(lab, node)
        for folder in (lab.pins / node, lab.node_files(node)):
            remove_folder(folder)
        lab.node_kubeconfig(node).unlink(missing_ok=True)
        cgroup.remove(group)
        gone = numbers[node]
        shrunk = replace(
            lab,
            nodes=tuple(number for number in lab.nodes if number != gone),
            far=tuple(number for number in lab.far if number != gone),
        )
        save_lab(shrunk)
        write_host_files(shrunk, home_network(shrunk.nodes, shrunk.far))
        asyncio.run(_strike_out(shrunk, node))


def _delete_pods(lab: Lab, node: str) -> None:
    """Remove the namespaces of the node's pods, which are known by their control groups."""
    place = str(lab.group / node) + "/"
    for record in lab.run.glob("pods/*/*.json"):
        raw = json.loads(record.read_text())
        if str(raw.get("cgroup") or "").startswith(place):
            name = str(raw.get("netns") or "").rpartition("/")[2]
            if name.startswith(f"{lab.netns_prefix}pod-"):
                namespace.delete(name)
            record.unlink(missing_ok=True)


async def _wait_ready(lab: Lab, node: str) -> None:
    async with Client.connect(str(lab.kubeconfig)) as client:
        await cluster.wait_for(
            node,
            lambda: cluster.nodes_missing(client, [node]),
            deadline_s=60,
            hint=lambda: control.trouble(lab) or f"see {lab.logs}/kubelet-{node}.log",
        )


async def _leave(lab: Lab, node: str) -> None:
    """Delete the node and wait until its speaker, told so by the agent, has no peer left."""
    async with Client.connect(str(lab.kubeconfig)) as client:
        with contextlib.suppress(ApiError):
            await client.delete(NODES, Key("", node))
    socket = lab.node_files(node) / "run/cairn/speaker.sock"
    # A speaker that is gone or does not hear has nothing to withdraw in time.
    with contextlib.suppress(OSError, ValueError, TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            while await _peers(socket):
                await asyncio.sleep(POLL_S)


async def _peers(socket: Path) -> int:
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b'{"get":"state"}\n')
    state = json.loads(await reader.readline())
    writer.close()
    return len(state["peers"])


async def _strike_out(lab: Lab, node: str) -> None:
    async with Client.connect(str(lab.kubeconfig)) as client:
        await cluster.strike_out(client, node)
