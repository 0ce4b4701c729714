"""The official Python client and lightkube, unchanged, against the real process."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import kubernetes
import pytest
from apiserver_bed import Process
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod, Service

from cairn.drive.informer import Informer
from cairn.drive.kube_client import Client as OwnClient
from cairn.kube.metadata import Key
from cairn.kube.resource import CONFIG_MAPS

T = TypeVar("T")

POD: dict[str, Any] = {
    "metadata": {"name": "p", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


def there(value: T | None) -> T:
    """Return what the clients' models say may be absent."""
    assert value is not None
    return value


def test_the_official_client(api: Process, wait_for: Callable[..., Any]) -> None:
    # Half of this client has no types, and its models deny what it accepts.
    library: Any = kubernetes
    client = library.config.new_client_from_config(str(api.kubeconfig))
    core = library.client.CoreV1Api(client)
    seen: list[tuple[str, str]] = []
    watch = library.watch.Watch()

    def follow() -> None:
        for event in watch.stream(core.list_namespaced_pod, "default", timeout_seconds=20):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                watch.stop()

    thread = threading.Thread(target=follow)
    thread.start()
    made = core.create_namespaced_pod("default", POD)
    assert made.status.phase == "Pending"
    patched = core.patch_namespaced_pod("p", "default", {"metadata": {"labels": {"a": "b"}}})
    assert patched.metadata.labels == {"app": "web", "a": "b"}
    assert [p.metadata.name for p in core.list_namespaced_pod("default", limit=1).items] == ["p"]
    core.delete_namespaced_pod("p", "default", grace_period_seconds=0)
    thread.join(25)
    assert seen == [("ADDED", "p"), ("MODIFIED", "p"), ("DELETED", "p")]
    with pytest.raises(kubernetes.client.ApiException) as missing:
        core.read_namespaced_pod("p", "default")
    assert (missing.value.status, missing.value.reason) == (404, "Not Found")
    assert kubernetes.client.VersionApi(client).get_code().major == "1"


def test_lightkube(api: Process) -> None:
    client = Client(KubeConfig.from_file(str(api.kubeconfig)), namespace="default")
    spec = ServiceSpec(type="LoadBalancer", ports=[ServicePort(port=80)])
    service = client.create(Service(metadata=ObjectMeta(name="s"), spec=spec))
    assert str(there(service.spec).clusterIP).startswith("10.96.")
    applied = client.apply(
        ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"a": "1"}),
        field_manager="test",
    )
    assert applied.data == {"a": "1"}
    client.patch(ConfigMap, "c", {"data": {"b": "2"}})
    assert client.get(ConfigMap, "c").data == {"a": "1", "b": "2"}
    assert {there(s.metadata).name for s in client.list(Service)} == {"kubernetes", "s"}
    client.delete(Service, "s")
    with pytest.raises(ApiError) as missing:
        client.get(Service, "s")
    assert missing.value.status.reason == "NotFound"
    template = {"metadata": {"labels": {"app": "web"}}, "spec": POD["spec"]}
    deployment: Any = Deployment.from_dict(
        {
            "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
        }
    )
    client.create(deployment)
    scale = client.get(Deployment.Scale, "web")
    there(scale.spec).replicas = 3
    client.replace(scale, "web")
    assert there(client.get(Deployment, "web").spec).replicas == 3


def test_lightkube_watches(api: Process) -> None:
    client = Client(KubeConfig.from_file(str(api.kubeconfig)), namespace="default")
    pod: Any = Pod.from_dict(POD)
    client.create(pod)
    for event, found in client.watch(Pod, fields={"metadata.name": "p"}, server_timeout=10):
        assert (event, there(found.metadata).name) == ("ADDED", "p")
        break


async def test_an_informer_outlives_the_server(api: Process) -> None:
    changes: list[Key] = []
    async with OwnClient.connect(str(api.kubeconfig)) as client:
        informer = Informer(
            client, CONFIG_MAPS, namespace="default", on_change=lambda key, *_: changes.append(key)
        )
        task = asyncio.create_task(informer.run())
        for name in ("a", "b", "c"):
            await client.create(CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}})
        api.kill()
        await asyncio.to_thread(api.start)
        await client.delete(CONFIG_MAPS, Key("default", "b"))
        await client.create(CONFIG_MAPS, {"metadata": {"name": "d", "namespace": "default"}})
        async with asyncio.timeout(20):
            while {key.name for key in informer.objects} != {"a", "c", "d"}:
                await asyncio.sleep(0.05)
        assert Key("default", "d") in changes
        task.cancel()
