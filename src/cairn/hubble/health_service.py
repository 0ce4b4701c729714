"""Serves gRPC's health checks: whether flows can be asked for.

    Observed.ready  ->  grpc.health.v1.Health

Standards   grpc.health.v1 (github.com/grpc/grpc/blob/master/doc/health-checking.md)
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from cairn.hubble.observed import Observed

SERVICE = "grpc.health.v1.Health"
LOOK_S = 1.0
_STATUS = health_pb2.HealthCheckResponse
_READ = health_pb2.HealthCheckRequest.FromString
_WRITE = health_pb2.HealthCheckResponse.SerializeToString


def health_handler(
    observed: Observed, services: Collection[str], look_s: float = LOOK_S
) -> grpc.GenericRpcHandler:
    """Return what a server of these services adds; the server's own name is empty."""
    known = {"", *services}

    def status(name: str) -> int:
        if name not in known:
            return int(_STATUS.SERVICE_UNKNOWN)
        return int(_STATUS.SERVING if observed.ready else _STATUS.NOT_SERVING)

    async def check(request: Any, context: Any) -> Any:
        if request.service not in known:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return _STATUS(status=status(request.service))

    async def watch(request: Any, _context: Any) -> AsyncIterator[Any]:
        told = None
        while True:
            if (now := status(request.service)) != told:
                told = now
                yield _STATUS(status=now)
            await asyncio.sleep(look_s)

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Check": grpc.unary_unary_rpc_method_handler(check, _READ, _WRITE),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, _READ, _WRITE),
        },
    )
