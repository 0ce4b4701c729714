"""Tells the other nodes which of this node's backends do not serve.

    ejected backends with reasons  ->  annotation cairn.io/ejected of the node's CiliumNode

Invariants  The annotation is compared with what the cluster holds, so that it is written again when
            the CiliumNode was made anew.
            A write that fails is said once and tried again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from cairn.agent.cluster import Cluster
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key
from cairn.kube.node import EJECTED, spell_ejections
from cairn.kube.resource import CILIUM_NODES
from cairn.net import L4Address

RETRY_S = 0.5
LOOK_S = 5.0

log = logging.getLogger("health")


class EjectionPublisher:
    """Keeps one annotation."""

    def __init__(self, client: Client, cluster: Cluster, node: str) -> None:
        self._client = client
        self._cluster = cluster
        self._node = node
        self._ejected: Mapping[L4Address, str] = {}
        self._written: str | None = None
        self._changed = asyncio.Event()
        self._said = ""

    def set(self, ejected: Mapping[L4Address, str]) -> None:
        """Have this told."""
        if ejected != self._ejected:
            self._ejected = dict(ejected)
            self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            self._changed.clear()
            try:
                await self._write()
                self._said = ""
                pause_s = LOOK_S
            except ApiError as error:
                # Without its CiliumNode the node is about to write one (node_record.py).
                if error.message != self._said and error.status != 404:
                    log.warning("ejected backends not told to the others: %s", error.message)
                self._said = error.message
                pause_s = RETRY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    async def _write(self) -> None:
        text = spell_ejections(self._ejected)
        facts = self._cluster.nodes.get(self._node)
        told = facts is not None and facts.ejected == frozenset(self._ejected)
        if told and text == (self._written if self._written is not None else ""):
            return
        patch = {"metadata": {"annotations": {EJECTED: text or None}}}
        await self._client.patch(CILIUM_NODES, Key("", self._node), patch)
        self._written = text
