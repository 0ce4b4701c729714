"""Hubble's API as a server gives it: Observer, Peer, health, reflection.

    Observed  ->  handlers of a gRPC server

Standards   Cilium api/v1; grpc.health.v1; grpc.reflection.v1alpha and v1
"""

from collections.abc import Sequence

import grpc

from cairn.hubble import health_service, observer_service, peer_service
from cairn.hubble.health_service import health_handler
from cairn.hubble.observed import Observed
from cairn.hubble.observer_service import observer_handler
from cairn.hubble.peer_service import peer_handler
from cairn.hubble.reflection_service import reflection_handlers

OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 1 << 20),
    # A client that is gone without a word is let go after a minute.
    ("grpc.keepalive_time_ms", 45_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    # Followers may ask every few seconds whether we live, on streams that have no flows.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)
"""Of every server of this API."""
SERVICES = (observer_service.SERVICE, peer_service.SERVICE, health_service.SERVICE)


def hubble_handlers(observed: Observed) -> Sequence[grpc.GenericRpcHandler]:
    """Return what a server adds."""
    return (
        observer_handler(observed),
        peer_handler(observed),
        health_handler(observed, SERVICES),
        *reflection_handlers(SERVICES),
    )
