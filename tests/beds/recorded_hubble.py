"""A server of Hubble's API that gives what it was told to give, and keeps what it was asked.

Recorded flows  ->  a real gRPC server on a port of its own
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from cairn.hubble.proto import message

SECOND_NS = 1_000_000_000
START_NS = 1_705_314_615 * SECOND_NS
"""2024-01-15T10:30:15Z."""


def response(**fields: Any) -> Any:
    return message("observer.GetFlowsResponse")(**fields)


def flow(**fields: Any) -> Any:
    """Return a TCP packet of web-app to database in production, with `fields` set instead."""
    made = message("flow.Flow")(
        uuid="5f4bd5c8-7a3c-8a1e-9f0b-000000000001",
        verdict="FORWARDED",
        node_name="node-1",
        Type="L3_L4",
        traffic_direction="EGRESS",
    )
    made.time.FromNanoseconds(START_NS)
    made.IP.source, made.IP.destination, made.IP.ipVersion = "10.42.1.5", "10.42.2.7", 1
    made.l4.TCP.source_port, made.l4.TCP.destination_port = 40000, 5432
    made.l4.TCP.flags.SYN = True
    for side, pod, identity in (("source", "web-app-123", 40001), ("destination", "database-456",
                                                                   40002)):  # fmt: skip
        end = getattr(made, side)
        end.namespace, end.pod_name, end.identity = "production", pod, identity
        end.cluster_name = "default"
        end.labels.extend([f"k8s:tier={pod.split('-')[0]}"])
        end.workloads.add(name=pod.rpartition("-")[0], kind="Deployment")
    made.event_type.type, made.event_type.sub_type = 4, 5
    made.is_reply.value = False
    made.MergeFrom(message("flow.Flow")(**fields))
    return made


def at(second: float) -> Any:
    """Return a time, in seconds after the first flow's."""
    stamp = message("google.protobuf.Timestamp")()
    stamp.FromNanoseconds(START_NS + int(second * SECOND_NS))
    return stamp


class RecordedHubble:
    """Answers every question by what its fields say."""

    def __init__(self, **options: Any) -> None:
        self.responses: Sequence[Any] = ()
        self.requests: list[Any] = []
        self.status = message("observer.ServerStatusResponse")()
        self.nodes = message("observer.GetNodesResponse")()
        self.namespaces = message("observer.GetNamespacesResponse")()
        self.changes: Sequence[Any] = ()
        self.serving = health_pb2.HealthCheckResponse.SERVING
        self.refuses: tuple[Any, str] | None = None
        self.goes_on = threading.Event()
        """A stream ends once it is set."""
        self.goes_on.set()
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((*self._handlers(),))
        credentials = options.get("credentials")
        address = options.get("address", "127.0.0.1:0")
        if credentials:
            self.port = self._server.add_secure_port(address, credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def close(self) -> None:
        self.goes_on.set()
        self._server.stop(0).wait()

    def _handlers(self) -> Iterator[Any]:
        unary = {
            "ServerStatus": lambda: self.status,
            "GetNodes": lambda: self.nodes,
            "GetNamespaces": lambda: self.namespaces,
        }
        methods = {
            name: grpc.unary_unary_rpc_method_handler(
                lambda _, __, answer=answer: answer(),
                message(f"observer.{name}Request").FromString,
                message(f"observer.{name}Response").SerializeToString,
            )
            for name, answer in unary.items()
        }
        methods["GetFlows"] = grpc.unary_stream_rpc_method_handler(
            self._flows,
            message("observer.GetFlowsRequest").FromString,
            message("observer.GetFlowsResponse").SerializeToString,
        )
        yield grpc.method_handlers_generic_handler("observer.Observer", methods)
        notify = grpc.unary_stream_rpc_method_handler(
            lambda _, __: iter(self.changes),
            message("peer.NotifyRequest").FromString,
            message("peer.ChangeNotification").SerializeToString,
        )
        yield grpc.method_handlers_generic_handler("peer.Peer", {"Notify": notify})
        check = grpc.unary_unary_rpc_method_handler(
            lambda _, __: health_pb2.HealthCheckResponse(status=self.serving),
            health_pb2.HealthCheckRequest.FromString,
            health_pb2.HealthCheckResponse.SerializeToString,
        )
        yield grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})

    def _flows(self, request: Any, context: Any) -> Iterator[Any]:
        self.requests.append(request)
        if self.refuses:
            context.abort(*self.refuses)
        yield from self.responses
        while not self.goes_on.wait(0.05) and context.is_active():
            pass
