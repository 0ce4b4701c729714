"""`cairn agent`: wires one node's network and keeps it as the cluster's objects say.

    options, environment  ->  a running agent; exit status 1 with one line if it cannot run

Start       kernel probe, own Node, uplink, programs (taking over what is pinned), pods (likewise),
            the cluster's objects, first reconciliation, then CNI: a pod is wired only when the
            node can forward for it.
"""

import argparse
import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cairn.agent.bgp import BgpLink
from cairn.agent.cluster import Cluster
from cairn.agent.cni_config import write_cni_config
from cairn.agent.cni_server import CniServer, is_whole
from cairn.agent.drop_log import log_drops
from cairn.agent.endpoint_publisher import EndpointPublisher
from cairn.agent.endpoint_store import EndpointStore
from cairn.agent.node_record import NodeRecord, wait_for_node
from cairn.agent.reconciler import Reconciler
from cairn.apply import pod_link
from cairn.apply.data_plane import DataPlane
from cairn.apply.uplink import NoUplink, Uplink, find_uplink, prepare_node
from cairn.desired.endpoint import PodEndpoint
from cairn.drive.daemon import run_daemon
from cairn.drive.kube_client import Client
from cairn.kube.node import Node, NodeFacts
from cairn.libbpf import BpfError, probe
from cairn.netlink.link_watch import watch_interface

log = logging.getLogger("agent")


@dataclass(frozen=True, slots=True)
class Options:
    """How the agent was started."""

    node: str
    kubeconfig: str | None
    run: Path
    bpf: Path
    cgroup: Path
    cni: Path


def main(argv: list[str]) -> int:
    """Run the agent until told to stop."""
    options = parse(argv)
    return run_daemon("agent", run(options))


def parse(argv: list[str]) -> Options:
    """Return the options; leaves with status 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="cairn agent", description="Run one node's network.")
    parser.add_argument("--node", default=os.environ.get("NODE_NAME"), help="default: $NODE_NAME")
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the pod's account")
    parser.add_argument("--run", type=Path, default=Path("/run/cairn"), help="sockets, records")
    parser.add_argument("--bpf", type=Path, default=Path("/sys/fs/bpf/cairn"), help="pins")
    parser.add_argument("--cgroup", type=Path, default=cgroup_default(), help="the node's cgroup")
    parser.add_argument("--cni", type=Path, default=Path("/etc/cni/net.d"), help="CNI conf folder")
    found = parser.parse_args(argv)
    if not found.node:
        parser.error("which node is this? set NODE_NAME or pass --node")
    return Options(found.node, found.kubeconfig, found.run, found.bpf, found.cgroup, found.cni)


def cgroup_default() -> Path:
    """Return where cgroup v2 usually is: alone, or beside version 1."""
    unified = Path("/sys/fs/cgroup/unified")
    return unified if unified.is_dir() else Path("/sys/fs/cgroup")


async def run(options: Options) -> None:
    """Run until cancelled; raises OSError with one line if the node cannot be served."""
    missing = probe(options.bpf.parent)
    if missing:
        raise OSError("; ".join(item.sentence for item in missing))
    async with Client.connect(options.kubeconfig) as client:
        node = await wait_for_node(client, options.node)
        try:
            # pyroute2 runs an event loop of its own, which must not be inside ours.
            uplink = await asyncio.to_thread(find_uplink_of, node)
            agent = Agent(options, client, node, uplink)
            await agent.run()
        except (BpfError, NoUplink) as error:
            raise OSError(str(error)) from error


def find_uplink_of(node: Node) -> Uplink:
    """Return the uplink of the node's addresses and make the kernel forward."""
    uplink = find_uplink(*node.internal_ips)
    for name in prepare_node(uplink):
        log.warning("the kernel has no setting %s: forwarding may not work", name)
    return uplink


class Agent:
    """The parts of one agent, wired."""

    def __init__(self, options: Options, client: Client, node: Node, uplink: Uplink) -> None:
        self._options = options
        self._client = client
        self._node = node
        self._uplink = uplink
        self._data_plane = DataPlane.load(options.bpf, uplink)
        self._store = EndpointStore(options.run / "endpoints")
        self._cluster = Cluster(client, node.name)
        self._publisher = EndpointPublisher(client, node)
        facts = NodeFacts(node.name, node.internal_ips, node.pod_networks, uplink.mac)
        self._bgp = BgpLink(client, self._cluster, facts, options.run / "speaker.sock")
        self._mtu_bytes = uplink.mtu_bytes
        self._reconciler = Reconciler(
            self._cluster,
            self._data_plane,
            uplink,
            node.name,
            on_services=self._bgp.services,
            set_mtu=self._set_mtu,
        )

    async def run(self) -> None:
        """Start in order, then follow the cluster until cancelled."""
        await asyncio.to_thread(self._take_over_pods)
        self._data_plane.attach_node(self._options.cgroup)
        log.info(
            "node %s on %s (%s), programs attached, %d pods taken over",
            self._node.name,
            self._uplink.name,
            self._uplink.address,
            len(tuple(self._store)),
        )
        async with asyncio.TaskGroup() as tasks:
            record = NodeRecord(self._client, self._node, self._uplink)
            tasks.create_task(record.keep())
            tasks.create_task(watch_interface(self._uplink.name, self._look_again(record)))
            for runner in self._cluster.runners():
                tasks.create_task(runner)
            await self._cluster.synced()
            await self._reconciler.start()
            server = await self._serve_cni()
            tasks.create_task(server.serve_forever())
            tasks.create_task(self._reconciler.run())
            tasks.create_task(self._bgp.run())
            tasks.create_task(self._publisher.run(self._store))
            tasks.create_task(log_drops(self._data_plane.maps["events"]))
            log.info("ready")

    async def _serve_cni(self) -> asyncio.Server:
        cni = CniServer(
            self._store,
            self._node.pod_networks,
            mtu_bytes=lambda: self._mtu_bytes,
            on_add=self._add_pod,
            on_delete=self._delete_pod,
        )
        socket = self._options.run / "agent.sock"
        server = await cni.serve(socket)
        write_cni_config(self._options.cni, socket)
        return server

    def _take_over_pods(self) -> None:
        for endpoint in self._store:
            if not is_whole(endpoint):
                log.info("pod %s/%s went while away", endpoint.namespace, endpoint.pod)
                # An ADD that was broken off may have left the link: its address goes to others.
                pod_link.disconnect(endpoint.host_ifname)
                self._store.remove(endpoint)
        self._data_plane.take_over(self._store)

    def _look_again(self, record: NodeRecord) -> Callable[[], None]:
        def look() -> None:
            record.look.set()
            self._cluster.dirty_nodes = True
            self._cluster.changed.set()

        return look

    def _set_mtu(self, mtu_bytes: int) -> list[str]:
        """Give every pod this MTU, now and when it comes; return what failed."""
        if mtu_bytes != self._mtu_bytes:
            log.info("MTU of pods: %d", mtu_bytes)
        self._mtu_bytes = mtu_bytes
        failed = []
        for endpoint in tuple(self._store):
            try:
                pod_link.set_mtu(endpoint, mtu_bytes)
            except pod_link.WiringFailed as error:
                if is_whole(endpoint):  # else it went meanwhile
                    failed.append(f"pod {endpoint.namespace}/{endpoint.pod}: {error}")
        return failed

    def _add_pod(self, endpoint: PodEndpoint) -> None:
        pod_link.set_mtu(endpoint, self._mtu_bytes)  # it may have changed since it was wired
        self._data_plane.attach_pod(endpoint)
        self._publisher.changed.set()

    def _delete_pod(self, endpoint: PodEndpoint) -> None:
        self._data_plane.detach_pod(endpoint)
        self._publisher.changed.set()
