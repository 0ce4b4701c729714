"""A leader steps down before its Lease can be another's, however the server behaves."""

import asyncio
import signal

import pytest
from apiserver_bed import Process

from cairn.drive import lease_election
from cairn.drive.kube_client import Client
from cairn.drive.lease_election import Election
from cairn.kube.metadata import Key

KEY = Key("kube-system", "test")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_election, "RENEW_S", 1.0)
    monkeypatch.setattr(lease_election, "GIVE_UP_S", 2.0)


@pytest.mark.usefixtures("quick")
async def test_a_server_that_freezes_ends_the_lead_in_time(api: Process) -> None:
    loop = asyncio.get_running_loop()
    began, ended = asyncio.Event(), asyncio.Event()

    async def lead() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Client.connect(str(api.kubeconfig)) as client:
        task = asyncio.create_task(Election(client, KEY, "a").run(lead))
        await asyncio.wait_for(began.wait(), 20)
        process = api.popen
        process.send_signal(signal.SIGSTOP)
        try:
            frozen = loop.time()
            await asyncio.wait_for(ended.wait(), 20)
            # Counted from before the last renewal was asked for, whatever hangs since.
            assert loop.time() - frozen < 2.0 + 0.7
        finally:
            process.send_signal(signal.SIGCONT)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
