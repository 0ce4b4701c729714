"""Serves gRPC's reflection, so that a client needs no .proto files.

    names of services, descriptors of our messages  ->  grpc.reflection.v1alpha and v1

Standards   grpc.reflection.v1: the messages of v1alpha under another name
"""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from cairn.hubble.proto import files_of_ours

ALPHA, ONE = "grpc.reflection.v1alpha", "grpc.reflection.v1"
SERVICES = (f"{ALPHA}.ServerReflection", f"{ONE}.ServerReflection")


def reflection_handlers(services: Sequence[str]) -> tuple[grpc.GenericRpcHandler, ...]:
    """Return what a server of these services adds."""
    servicer = reflection.aio.ReflectionServicer((*services, *SERVICES), pool=_pool())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return tuple(
        grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
        for name in SERVICES
    )


def _pool() -> Any:
    """Return descriptors of all that is served."""
    pool = descriptor_pool.DescriptorPool()
    for file in files_of_ours():
        pool.Add(file)
    pool.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    alpha = reflection_pb2.DESCRIPTOR.serialized_pb
    pool.AddSerializedFile(alpha)
    pool.Add(_renamed(descriptor_pb2.FileDescriptorProto.FromString(alpha)))
    return pool


def _renamed(file: Any) -> Any:
    """Return the file of v1alpha as that of v1."""
    file.name = file.name.replace("v1alpha", "v1")
    file.package = ONE
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(ALPHA, ONE)
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(ALPHA, ONE)
            method.output_type = method.output_type.replace(ALPHA, ONE)
    return file
