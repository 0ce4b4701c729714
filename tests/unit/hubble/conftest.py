"""Clients as others write them: classes that protoc makes of proto/, over a real channel."""

import importlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_tools import protoc
from hubble_bed import Seen, Serve

from cairn.hubble.server import hubble_handlers

PROTO = Path(__file__).parents[3] / "proto"


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The modules that protoc makes."""
    out = tmp_path_factory.mktemp("stubs")
    common = files("grpc_tools") / "_proto"
    sources = [str(path.relative_to(PROTO)) for path in PROTO.glob("*/*.proto")]
    words = ["protoc", f"-I{PROTO}", f"-I{common}", f"--python_out={out}"]
    assert protoc.main([*words, f"--grpc_python_out={out}", *sources]) == 0
    sys.path.insert(0, str(out))
    try:
        return SimpleNamespace(
            flow=importlib.import_module("flow.flow_pb2"),
            observer=importlib.import_module("observer.observer_pb2"),
            peer=importlib.import_module("peer.peer_pb2"),
            relay=importlib.import_module("relay.relay_pb2"),
            Observer=importlib.import_module("observer.observer_pb2_grpc").ObserverStub,
            Peer=importlib.import_module("peer.peer_pb2_grpc").PeerStub,
        )
    finally:
        sys.path.remove(str(out))


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Serves at a unix socket; gives the channel."""

    @asynccontextmanager
    async def served(seen: Seen) -> AsyncIterator[Any]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(hubble_handlers(seen))
        target = f"unix:{tmp_path_factory.mktemp('served') / 'hubble.sock'}"
        server.add_insecure_port(target)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(target) as channel:
                yield channel
        finally:
            await server.stop(0)

    return served
