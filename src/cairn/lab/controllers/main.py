"""`cairn lab controllers`: all controllers and the scheduler in one process.

arguments, API server  ->  reconcilers until SIGTERM
"""

import argparse
import asyncio
import base64
import logging
from pathlib import Path
from typing import Any

import yaml

from cairn.drive.daemon import run_daemon
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import Client
from cairn.lab.controllers.daemon_set import DaemonSets
from cairn.lab.controllers.deployment import Deployments
from cairn.lab.controllers.endpoint_slice import EndpointSlices
from cairn.lab.controllers.namespace import Namespaces
from cairn.lab.controllers.node_life import NodeLife
from cairn.lab.controllers.replica_set import ReplicaSets
from cairn.lab.controllers.scheduler import Scheduler
from cairn.lab.controllers.world import World
from cairn.net import parse_network

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run the controllers until SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="cairn lab controllers", description="Controllers and scheduler of the lab."
    )
    parser.add_argument("--kubeconfig", help="file (default: $KUBECONFIG)")
    parser.add_argument(
        "--pod-cidr",
        type=parse_network,
        action="append",
        help="network of all pods (repeatable, one per family; default: 10.244.0.0/16)",
    )
    parser.add_argument(
        "--node-grace", type=float, default=40.0, help="seconds of silence until a node is lost"
    )
    parser.add_argument("--verbose", action="store_true", help="log details")
    args = parser.parse_args(argv)
    return run_daemon("cairn lab controllers", _run(args), verbose=args.verbose)


async def _run(args: argparse.Namespace) -> None:
    async with Client.connect(args.kubeconfig) as client:
        recorder = EventRecorder(client, "cairn-controllers")
        world = World(client, recorder)
        pods = tuple(args.pod_cidr or [parse_network("10.244.0.0/16")])
        nodes = NodeLife(world, grace_s=args.node_grace, pod_networks=pods)
        slices = EndpointSlices(world)
        controllers = (
            slices,
            Scheduler(world),
            nodes,
            ReplicaSets(world),
            Deployments(world),
            DaemonSets(world),
            Namespaces(world, _root_ca(args.kubeconfig)),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run())
            group.create_task(world.run())
            await world.synced()
            log.info("following %s", client.url)
            for controller in controllers:
                group.create_task(controller.queue.run())
            group.create_task(slices.mirror.run())
            group.create_task(nodes.run())


def _root_ca(kubeconfig: str | None) -> str:
    """Return the certificate of the cluster's authority as the kubeconfig has it, or ""."""
    if not kubeconfig:
        return ""
    config: dict[str, Any] = yaml.safe_load(Path(kubeconfig).read_text()) or {}
    for item in config.get("clusters") or ():
        cluster = item.get("cluster") or {}
        if cluster.get("certificate-authority-data"):
            return base64.b64decode(cluster["certificate-authority-data"]).decode()
        if cluster.get("certificate-authority"):
            return Path(cluster["certificate-authority"]).read_text()
    return ""
