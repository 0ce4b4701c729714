"""Serves peer.Peer: which nodes there are, and what changes.

    Observed.peers()  ->  peer.ChangeNotification after another

Cost        names and addresses are compared once a second for each who listens
Standards   Cilium api/v1/peer/peer.proto
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from cairn.hubble.observed import Observed, PeerView
from cairn.hubble.proto import message
from cairn.hubble.rpc import stream

SERVICE = "peer.Peer"
LOOK_S = 1.0
ADDED, DELETED, UPDATED = 1, 2, 3
"""peer.ChangeNotificationType."""
Notification: Any = message("peer.ChangeNotification")


def peer_handler(observed: Observed, look_s: float = LOOK_S) -> grpc.GenericRpcHandler:
    """Return what a server adds."""

    async def notify(_request: Any) -> AsyncIterator[bytes]:
        told: dict[str, PeerView] = {}
        while True:
            now = {peer.name: peer for peer in observed.peers()}
            for name in [name for name in told if name not in now]:
                yield notification(told[name], DELETED)
            for name, peer in now.items():
                if told.get(name) != peer:
                    yield notification(peer, UPDATED if name in told else ADDED)
            told = now
            await asyncio.sleep(look_s)

    return grpc.method_handlers_generic_handler(
        SERVICE, {"Notify": stream("peer.NotifyRequest", notify)}
    )


def notification(peer: PeerView, change: int) -> bytes:
    """Return what tells of one change."""
    made = Notification(name=peer.name, address=peer.address, type=change)
    if peer.server_name:
        made.tls.server_name = peer.server_name
    octets: bytes = made.SerializeToString()
    return octets
