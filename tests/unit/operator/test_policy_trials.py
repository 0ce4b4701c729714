"""Policies on trial: taken back at the time, whoever is left to do it; kept if that was said."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver_bed import Process

from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import Client
from cairn.drive.policy_trial import confirm, current, put, take_back
from cairn.kube import crds
from cairn.kube.metadata import Key
from cairn.kube.policy.trial import APPLIED, PREVIOUS, UNTIL, BadTrial, Trial, trial_of
from cairn.kube.resource import CRDS, EVENTS, NETWORK_POLICIES, POLICY_KINDS
from cairn.operator.policy_trials import PolicyTrials

CILIUM = POLICY_KINDS[1]
KEY = Key("default", "p")
RUN = "import sys; from cairn.cli.main import main; sys.exit(main(sys.argv[1:]))"


def policy(port: str = "80", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "default", **more},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{"toPorts": [{"ports": [{"port": port, "protocol": "TCP"}]}]}],
        },
    }


def plain() -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }


def soon(seconds: float = 0.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def until(check: Callable[[], Awaitable[bool]], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while not await check():
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def operating(client: Client) -> AsyncIterator[None]:
    """Run the part of the operator, as a leader does."""
    recorder = EventRecorder(client, "test")
    tasks = [
        asyncio.create_task(recorder.run()),
        asyncio.create_task(PolicyTrials(client, recorder).run()),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def client(api: Process) -> AsyncIterator[Client]:
    async with Client.connect(str(api.kubeconfig)) as made:
        for crd in crds.load():
            await made.create(CRDS, crd)
        yield made


async def said(client: Client) -> set[str]:
    events, _ = await client.list(EVENTS)
    return {event["reason"] for event in events}


async def test_a_new_policy_is_deleted_and_an_event_says_so(client: Client) -> None:
    async with operating(client):
        await put(client, CILIUM, policy(), soon(1))
        assert (await client.get(CILIUM, KEY))["metadata"]["annotations"][PREVIOUS] == "none"

        async def gone() -> bool:
            return await current(client, CILIUM, KEY) is None

        await until(gone)

        async def told() -> bool:
            return "TrialEnded" in await said(client)

        await until(told)


async def test_what_stood_there_comes_back(client: Client) -> None:
    marks = {"labels": {"team": "a"}, "annotations": {APPLIED: "x", "note": "mine"}}
    before = await client.create(CILIUM, policy("80", **marks))
    tried = await put(client, CILIUM, policy("443", labels={"team": "b"}), soon(1))
    assert tried["spec"] == policy("443")["spec"]
    async with operating(client):

        async def back() -> bool:
            return bool((await client.get(CILIUM, KEY))["spec"] == before["spec"])

        await until(back)
    after = await client.get(CILIUM, KEY)
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_confirmed_policy_stays(client: Client) -> None:
    async with operating(client):
        stored = await put(client, CILIUM, policy(), soon(60))
        await confirm(client, CILIUM, stored)
        short = await put(client, NETWORK_POLICIES, plain(), soon(1))

        async def gone() -> bool:
            return await current(client, NETWORK_POLICIES, KEY) is None

        await until(gone)
        kept = await client.get(CILIUM, KEY)
    assert short["spec"]["policyTypes"] == ["Ingress"]
    assert not {UNTIL, PREVIOUS} & (kept["metadata"].get("annotations") or {}).keys()


async def test_a_trial_that_ended_while_nobody_led(client: Client) -> None:
    await put(client, CILIUM, policy(), soon(-30))
    async with operating(client):

        async def gone() -> bool:
            return await current(client, CILIUM, KEY) is None

        await until(gone)


async def test_a_second_trial_keeps_the_way_back_to_the_first(client: Client) -> None:
    first = await client.create(CILIUM, policy("80"))
    await put(client, CILIUM, policy("81"), soon(60))
    obj = await put(client, CILIUM, policy("82"), soon(60))
    trial = trial_of(obj)
    assert isinstance(trial, Trial)
    await take_back(client, CILIUM, {"kind": CILIUM.kind, **obj}, trial)
    assert (await client.get(CILIUM, KEY))["spec"] == first["spec"]


async def test_a_policy_is_what_its_manifest_says(client: Client) -> None:
    earlier = policy()
    earlier["spec"]["egress"] = [{"toEntities": ["world"]}]
    await client.create(CILIUM, earlier)
    stored = await put(client, CILIUM, policy(), soon(60))
    assert "egress" not in stored["spec"]
    trial = trial_of(stored)
    assert trial is not None
    assert trial.previous is not None
    assert "egress" in trial.previous["spec"]


@pytest.mark.parametrize(
    "marks",
    [{UNTIL: "tomorrow", PREVIOUS: "none"}, {UNTIL: "2020-01-01T00:00:00Z", PREVIOUS: "{"},
     {UNTIL: "2020-01-01T00:00:00Z"}, {UNTIL: "2020-01-01T00:00:00Z", PREVIOUS: "{}"}],
)  # fmt: skip
async def test_marks_that_cannot_be_read_leave_the_policy(
    client: Client, marks: dict[str, str]
) -> None:
    with pytest.raises(BadTrial):
        trial_of(policy(annotations=marks))
    await client.create(CILIUM, policy(annotations=marks))
    async with operating(client):

        async def told() -> bool:
            return "TrialNotRead" in await said(client)

        await until(told)
    assert await current(client, CILIUM, KEY) is not None


class Cli:
    """The command, as a person runs it."""

    def __init__(self, api: Process, folder: Path) -> None:
        self._api = api
        self.file = folder / "p.yaml"

    def command(self, *words: str) -> list[str]:
        config = ("--kubeconfig", str(self._api.kubeconfig))
        return [sys.executable, "-c", RUN, "policy", *words, *config]

    async def run(self, *words: str) -> tuple[int, str]:
        ran = await asyncio.to_thread(
            subprocess.run, self.command(*words), capture_output=True, text=True, timeout=60
        )
        return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def cli(api: Process, tmp_path: Path) -> Cli:
    made = Cli(api, tmp_path)
    made.file.write_text(yaml.safe_dump(policy()))
    return made


async def test_the_commands(client: Client, cli: Cli) -> None:
    file = str(cli.file)
    code, text = await cli.run("apply", "-f", file, "--try", "60s", "--detach")
    assert code == 0, text
    assert "cairn policy confirm p -n default" in text
    assert "on trial until" in (await cli.run("get"))[1]
    assert (await cli.run("revert", "p"))[0] == 0
    assert await current(client, CILIUM, KEY) is None
    assert (await cli.run("confirm", "p"))[0] == 1
    assert (await cli.run("apply", "-f", file, "--try", "60s", "--detach"))[0] == 0
    assert (await cli.run("confirm", "p"))[0] == 0
    assert trial_of(await client.get(CILIUM, KEY)) is None


async def test_what_is_refused(client: Client, cli: Cli) -> None:
    wrong = policy("http?")
    cli.file.write_text(yaml.safe_dump(wrong))
    code, text = await cli.run("apply", "-f", str(cli.file), "--try", "60s", "--detach")
    assert code == 1
    assert "would not be enforced" in text
    assert await current(client, CILIUM, KEY) is None
    cli.file.write_text(json.dumps({"kind": "ConfigMap", "metadata": {"name": "x"}}))
    assert (await cli.run("apply", "-f", str(cli.file), "--try", "60s"))[0] == 2
    assert (await cli.run("apply", "-f", str(cli.file), "--try", "soon"))[0] == 2


@pytest.mark.parametrize(
    ("word", "code", "stays"), [("confirm", 0, True), ("interrupt", 1, False), ("kill", -9, False)]
)
async def test_a_terminal_that_watches(
    client: Client, cli: Cli, word: str, code: int, stays: bool
) -> None:
    """Confirmed elsewhere, interrupted, and killed: the last leaves it to the operator."""
    trial_s = "3s" if word == "kill" else "60s"
    process = await asyncio.create_subprocess_exec(
        *cli.command("apply", "-f", str(cli.file), "--try", trial_s),
        stdout=asyncio.subprocess.DEVNULL,
    )

    async def applied() -> bool:
        return await current(client, CILIUM, KEY) is not None

    await until(applied)
    async with operating(client):
        if word == "confirm":
            assert (await cli.run("confirm", "p"))[0] == 0
        else:
            process.send_signal(signal.SIGINT if word == "interrupt" else signal.SIGKILL)
        assert await asyncio.wait_for(process.wait(), 20) == code

        async def ended() -> bool:
            found = await current(client, CILIUM, KEY)
            return found is None or trial_of(found) is None

        await until(ended)
    assert (await current(client, CILIUM, KEY) is not None) is stays
