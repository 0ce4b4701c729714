"""A real API server with Cairn's kinds, for what the agent does with it."""

from collections.abc import AsyncIterator

import pytest
from apiserver_bed import Process, api

from cairn.drive.kube_client import Client
from cairn.kube import crds
from cairn.kube.resource import CRDS

__all__ = ["api"]


@pytest.fixture
async def client(api: Process) -> AsyncIterator[Client]:
    async with Client.connect(str(api.kubeconfig)) as found:
        for crd in crds.load():
            await found.create(CRDS, crd)
        yield found
