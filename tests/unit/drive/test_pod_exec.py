"""What a command in a pod says when it cannot be run; that it runs is shown in a lab."""

from collections.abc import AsyncIterator

import pytest
from apiserver_bed import Process, api

from cairn.drive.kube_client import ApiError, Client
from cairn.drive.pod_exec import exec_in_pod
from cairn.kube.metadata import Key
from cairn.kube.resource import PODS

__all__ = ["api"]


@pytest.fixture
async def client(api: Process) -> AsyncIterator[Client]:
    async with Client.connect(str(api.kubeconfig)) as found:
        yield found


async def test_a_pod_that_is_gone(client: Client) -> None:
    with pytest.raises(ApiError, match="exec in pod default/nobody: it is gone") as caught:
        await exec_in_pod(client, Key("default", "nobody"), "main", ["true"])
    assert caught.value.status == 404


async def test_a_pod_that_runs_nowhere(client: Client) -> None:
    spec = {"containers": [{"name": "main", "image": "toolbox"}]}
    await client.create(PODS, {"metadata": {"namespace": "default", "name": "waits"}, "spec": spec})
    with pytest.raises(ApiError, match="exec in pod default/waits: HTTP status 400"):
        await exec_in_pod(client, Key("default", "waits"), "main", ["true"])


async def test_a_server_that_does_not_answer(client: Client, api: Process) -> None:
    api.kill()
    with pytest.raises(ApiError, match="does not answer"):
        await exec_in_pod(client, Key("default", "any"), "main", ["true"])
