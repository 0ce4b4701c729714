"""What this node tells its peers and the user about itself: its CiliumNode.

    v1.Node, Uplink  ->  CiliumNode (spec, annotation of the uplink's Ethernet address)

Invariants  The CiliumNode is written again when it is gone: without it the other nodes have no
            way to this one's pods.
            What the programs were loaded with does not change under way: when the node's
            addresses, pod networks or uplink do, the agent ends with a line that says so, and its
            next start takes the programs over with the new facts. Packets flow meanwhile.
Standards   CiliumNode v2
"""

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any, NoReturn

from cairn.apply.uplink import NoUplink, Uplink, find_uplink
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key
from cairn.kube.node import UPLINK, UPLINK_MAC, UPLINK_NETWORKS, Node
from cairn.kube.resource import CILIUM_NODES, NODES

RETRY_S = 1.0
LOOK_S = 10.0

log = logging.getLogger(__name__)


async def wait_for_node(client: Client, name: str) -> Node:
    """Return this node's v1.Node once it has an address and a pod network."""
    said = ""
    while True:
        try:
            node = Node.from_object(await client.get(NODES, Key("", name)))
            missing = _missing(node)
        except ApiError as error:
            missing = error.message
        if not missing:
            return node
        if missing != said:
            log.warning("waiting for node %s: %s", name, missing)
            said = missing
        await asyncio.sleep(RETRY_S)


def _missing(node: Node) -> str:
    if not node.internal_ips:
        return "its status has no InternalIP yet (the kubelet reports it)"
    if not node.pod_networks:
        return "its spec has no podCIDR (start the controller manager with --allocate-node-cidrs)"
    return ""


class FactsChanged(OSError):
    """The node is no longer what the agent started with."""


class NodeRecord:
    """Keeps one node's CiliumNode, and watches the facts it tells."""

    def __init__(self, client: Client, node: Node, uplink: Uplink) -> None:
        self._client = client
        self._node = node
        self._uplink = uplink
        self._said = ""
        self.look = asyncio.Event()
        """Set to have the facts looked at now."""

    async def keep(self, *, look_s: float = LOOK_S) -> None:
        """Write the CiliumNode and look after it until cancelled; raises FactsChanged."""
        written = False
        while True:
            try:
                written = written and await self._is_there()
                if not written:
                    record = cilium_node(self._node, self._uplink)
                    await self._client.apply(CILIUM_NODES, record, manager="cairn-agent")
                    written = True
                self._said = ""
            except ApiError as error:
                if error.message != self._said:
                    log.warning("CiliumNode %s not written: %s", self._node.name, error.message)
                    self._said = error.message
                await asyncio.sleep(RETRY_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(look_s):
                    await self.look.wait()
            self.look.clear()
            written = await self._still_true()

    async def _is_there(self) -> bool:
        try:
            await self._client.get(CILIUM_NODES, Key("", self._node.name))
        except ApiError as error:
            if error.status != 404:
                raise
            log.warning("CiliumNode %s is gone: writing it again", self._node.name)
            return False
        return True

    async def _still_true(self) -> bool:
        """Return whether the record still says what is; raises FactsChanged if it never can."""
        try:
            node = Node.from_object(await self._client.get(NODES, Key("", self._node.name)))
        except (ApiError, ValueError):
            return True  # an unreachable server proves nothing
        if _missing(node):
            return True  # registering, not to the end yet
        if node.internal_ips != self._node.internal_ips:
            self._end("addresses", self._node.internal_ips, node.internal_ips)
        if node.pod_networks != self._node.pod_networks:
            self._end("pod networks", self._node.pod_networks, node.pod_networks)
        try:
            uplink = await asyncio.to_thread(find_uplink, *self._node.internal_ips)
        except NoUplink as error:
            log.warning("%s", error)
        else:
            # Another MTU is followed while everything runs. A link that goes down loses its IPv6
            # addresses until it is up again.
            whole = set(uplink.others) >= set(self._uplink.others)
            if whole and replace(uplink, mtu_bytes=self._uplink.mtu_bytes) != self._uplink:
                self._end("uplink", (_words(self._uplink),), (_words(uplink),))
        # A node that registers anew takes the record of the old one with it.
        before, self._node = self._node.metadata, node
        return (node.metadata.uid, node.metadata.labels) == (before.uid, before.labels)

    def _end(self, what: str, was: tuple[object, ...], now: tuple[object, ...]) -> NoReturn:
        told = f"from {', '.join(map(str, was))} to {', '.join(map(str, now))}"
        raise FactsChanged(f"the node's {what} changed {told}: starting anew")


def _words(uplink: Uplink) -> str:
    addresses = " ".join(map(str, uplink.addresses))
    return f"{uplink.name} (index {uplink.ifindex}, {uplink.mac}, {addresses})"


def cilium_node(node: Node, uplink: Uplink) -> dict[str, Any]:
    """Return the CiliumNode that describes `node`."""
    return {
        "apiVersion": CILIUM_NODES.api_version,
        "kind": CILIUM_NODES.kind,
        "metadata": {
            "name": node.name,
            "annotations": {
                UPLINK_MAC: uplink.mac,
                UPLINK: uplink.name,
                UPLINK_NETWORKS: ",".join(map(str, uplink.networks)),
            },
            "labels": dict(node.metadata.labels),
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.metadata.uid}
            ],
        },
        "spec": {
            "addresses": [{"type": "InternalIP", "ip": str(ip)} for ip in node.internal_ips],
            "ipam": {"podCIDRs": [str(network) for network in node.pod_networks]},
        },
    }
