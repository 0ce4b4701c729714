"""`cairn operator`: one active process per cluster.

arguments, API server  ->  leads, or waits to
"""

import argparse
import asyncio
import logging
import os
import socket

from cairn.drive.daemon import run_daemon
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.informer import OnChange, RawObject
from cairn.drive.kube_client import Client
from cairn.drive.lease_election import Election
from cairn.drive.metrics_page import serve_metrics
from cairn.kube.metadata import Key
from cairn.operator.bgp import Bgp
from cairn.operator.conflicts import Conflicts
from cairn.operator.ipam import Ipam
from cairn.operator.l2 import L2Policies
from cairn.operator.metrics import OperatorFigures
from cairn.operator.policies import Policies
from cairn.operator.policy_trials import PolicyTrials
from cairn.operator.unsupported import Unsupported

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run the operator until SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="cairn operator",
        description="Gives LoadBalancer addresses and configures BGP on every node.",
    )
    parser.add_argument("--kubeconfig", help="file (default: $KUBECONFIG, or the pod's account)")
    parser.add_argument("--namespace", default="kube-system", help="namespace of the Lease")
    parser.add_argument(
        "--identity", default="", help="name in the Lease (default: $POD_NAME, or host and pid)"
    )
    parser.add_argument("--metrics", type=int, default=0, metavar="PORT",
                        help="of GET /metrics (usual: 9963; default: none)")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="log details")
    args = parser.parse_args(argv)
    # A container that restarts in its pod takes its own Lease back at once.
    pod = os.environ.get("POD_NAME")
    identity = args.identity or pod or f"{socket.gethostname()}_{os.getpid()}"
    lease = Key(args.namespace, "cairn-operator")
    return run_daemon(
        "cairn operator",
        _run(args.kubeconfig, lease, identity, args.metrics),
        verbose=args.verbose,
    )


def each_of(*listeners: OnChange) -> OnChange:
    """Return a listener that tells all of these."""

    def on_change(key: Key, old: RawObject | None, new: RawObject | None) -> None:
        for listener in listeners:
            listener(key, old, new)

    return on_change


async def _run(kubeconfig: str | None, lease: Key, identity: str, port: int) -> None:
    figures = OperatorFigures()
    async with Client.connect(kubeconfig) as client:
        log.info("API server %s", client.url)

        async def lead() -> None:
            recorder = EventRecorder(client, "cairn-operator")
            async with asyncio.TaskGroup() as group:
                group.create_task(recorder.run())
                rest = Unsupported(client, recorder)
                bgp = Bgp(
                    client,
                    recorder,
                    on_policy=rest.peering_policy,
                    on_advertisement=rest.advertisement,
                )
                conflicts = Conflicts(client, recorder)
                policies = L2Policies(client, recorder)
                ipam = Ipam(
                    client,
                    recorder,
                    on_service=each_of(rest.service, conflicts.service, policies.service),
                    on_conflicts=conflicts.update,
                    figures=figures,
                )
                figures.node_configs = lambda: bgp.node_configs
                figures.connected = lambda: ipam.reachable
                figures.leading = True
                group.create_task(_no_longer(figures))
                group.create_task(Policies(client, recorder).run())
                group.create_task(conflicts.run())
                group.create_task(policies.run())
                group.create_task(ipam.run())
                group.create_task(bgp.run())
                group.create_task(rest.run())
                group.create_task(PolicyTrials(client, recorder).run())

        async with asyncio.TaskGroup() as group:
            group.create_task(serve_metrics(figures.families, port))
            group.create_task(Election(client, lease, identity).run(lead))


async def _no_longer(figures: OperatorFigures) -> None:
    """Tell that this process leads no more, once it is cancelled."""
    try:
        await asyncio.Event().wait()
    finally:
        figures.leading = False
