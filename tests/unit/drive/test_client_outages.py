"""The client and the informer against servers that go, babble, or hold broken objects."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from apiserver_bed import Process

from cairn.drive.informer import Informer
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.kubeconfig import Access
from cairn.kube.metadata import Key
from cairn.kube.resource import CONFIG_MAPS, CRDS, Resource


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[Client]:
    """A client of a server that answers everything with `body`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Client(Access(f"http://127.0.0.1:{port}", None)) as client:
        yield client
    server.close()


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.02)


BABBLE = [
    b"<html>log in</html>",
    b"[]",
    b"7",
    b"null",
    b"\xff",
    b'{"items": 7}',
    b'{"metadata": {}}',
]


@pytest.mark.parametrize("body", BABBLE)
async def test_a_list_that_is_none_is_an_api_error(body: bytes) -> None:
    async with answering(body) as client:
        with pytest.raises(ApiError, match="answered"):
            await client.list(CONFIG_MAPS)


@pytest.mark.parametrize("body", [*BABBLE, b'{"type": "ADDED", "object": {}}'])
async def test_a_watch_that_babbles_is_an_api_error(body: bytes) -> None:
    async with answering(body + b"\n") as client:
        with pytest.raises(ApiError, match="answered"):
            async for _ in client.watch(CONFIG_MAPS, resource_version="1"):
                pass


async def test_an_error_event_is_an_api_error_with_its_code() -> None:
    status = {"code": 410, "reason": "Expired", "message": "too old", "metadata": {}}
    event = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
    async with answering(event) as client:
        with pytest.raises(ApiError, match="too old") as gone:
            async for _ in client.watch(CONFIG_MAPS, resource_version="1"):
                pass
    assert gone.value.status == 410


async def test_an_object_that_cannot_be_read_stops_nothing(
    api: Process, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def on_change(key: Key, _old: Any, new: Any) -> None:
        seen.append(key.name)
        int((new or {}).get("data", {}).get("number", "0"))

    async with Client.connect(str(api.kubeconfig)) as client:
        informer = Informer(client, CONFIG_MAPS, namespace="default", on_change=on_change)
        task = asyncio.create_task(informer.run())
        await asyncio.wait_for(informer.synced.wait(), 20)
        for name, number in (("good", "1"), ("bad", "x"), ("better", "2")):
            metadata = {"name": name, "namespace": "default"}
            await client.create(CONFIG_MAPS, {"metadata": metadata, "data": {"number": number}})
        await until(lambda: seen[-3:] == ["good", "bad", "better"])
        assert not task.done()
        task.cancel()
    assert [record.message for record in caplog.records if "default/bad" in record.message]


async def test_an_informer_says_when_the_server_is_back(api: Process) -> None:
    async with Client.connect(str(api.kubeconfig)) as client:
        informer = Informer(client, CONFIG_MAPS, on_change=lambda *_: None)
        task = asyncio.create_task(informer.run())
        await until(lambda: informer.reachable)
        api.kill()
        await until(lambda: not informer.reachable)
        await asyncio.to_thread(api.start)
        await until(lambda: informer.reachable)
        task.cancel()


async def test_a_kind_that_the_server_does_not_know_is_empty_until_it_does(api: Process) -> None:
    seen: dict[Key, Any] = {}

    def note(key: Key, _old: Any, new: Any) -> None:
        seen[key] = new

    known = Resource("example.org", "v1", "gadgets", "Gadget")
    async with Client.connect(str(api.kubeconfig)) as client:
        informer = Informer(client, known, on_change=note, keep=False, optional=True)
        task = asyncio.create_task(informer.run())
        try:
            await until(informer.synced.is_set)
            assert seen == {}
            await client.create(CRDS, crd_of(known))
            await until_created(
                client,
                known,
                {
                    "apiVersion": known.api_version,
                    "kind": known.kind,
                    "metadata": {"namespace": "default", "name": "one"},
                },
            )
            await until(lambda: Key("default", "one") in seen)
        finally:
            task.cancel()
            await asyncio.wait([task])


def crd_of(resource: Resource) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": CRDS.api_version,
        "kind": CRDS.kind,
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {"plural": resource.plural, "singular": "gadget", "kind": resource.kind},
            "versions": [version],
        },
    }


async def until_created(client: Client, resource: Resource, obj: dict[str, Any]) -> None:
    """Create an object as soon as the server knows its kind."""
    async with asyncio.timeout(20):
        while True:
            try:
                await client.create(resource, obj)
            except ApiError as error:
                if error.status != 404:
                    raise
                await asyncio.sleep(0.02)
            else:
                return
