"""Messages of Hubble's API, as classes made of what proto/ was compiled to.

"flow.Flow"  ->  the class of flow.Flow

Invariants  They live in a pool of descriptors of their own, so that a program that also loads
            another's modules for the same API may load this one.
Standards   Cilium api/v1: flow, observer, peer, relay
"""

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

COMPILED = "_proto/hubble.binpb"


def files_of_ours() -> list[Any]:
    """Return the files' descriptors, each after those it imports.

    Raises FileNotFoundError where proto/ was not compiled.
    """
    compiled = files("cairn.hubble").joinpath(COMPILED)
    return list(descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file)


@cache
def pool() -> Any:
    """Return the pool; raises FileNotFoundError where proto/ was not compiled."""
    made = descriptor_pool.DescriptorPool()
    for file in files_of_ours():
        made.Add(file)
    return made


@cache
def message(name: str) -> Any:
    """Return the class of a message, by its whole name; raises KeyError."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name))


@cache
def enum(name: str) -> Any:
    """Return the descriptor of an enum, by its whole name; raises KeyError."""
    return pool().FindEnumTypeByName(name)
