"""Namespaces: what each has from the start, and what must go before one can.

    Namespace  ->  ServiceAccount default, ConfigMap kube-root-ca.crt; content deleted, finalized

Standards   Kubernetes v1.Namespace, finalizer "kubernetes"
"""

from typing import Any

from cairn.drive.kube_client import ApiError, Client
from cairn.drive.work_queue import WorkQueue
from cairn.kube.metadata import Key, key_of
from cairn.kube.resource import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Resource
from cairn.lab.controllers.world import Raw, World, is_deleting

ROOT_CA = "kube-root-ca.crt"
LOOK_AGAIN_S = 0.3


class Namespaces:
    """Reconciles every Namespace."""

    def __init__(self, world: World, root_ca: str) -> None:
        self._world = world
        self._root_ca = root_ca
        self.queue: WorkQueue[Key] = WorkQueue("Namespace", self._reconcile)
        """Keys of Namespaces that changed."""
        world.follow(NAMESPACES, lambda key, old, new: self.queue.add(key))
        world.follow(SERVICE_ACCOUNTS, self._content_changed)

    def _content_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if new is None and key.name == "default":
            self.queue.add(Key("", key.namespace))

    async def _reconcile(self, key: Key) -> None:
        namespace = self._world.get(NAMESPACES, key)
        if namespace is None:
            return
        if is_deleting(namespace):
            await self._empty(namespace)
            return
        await self._ensure(SERVICE_ACCOUNTS, key.name, "default", {})
        if self._root_ca:
            await self._ensure(CONFIG_MAPS, key.name, ROOT_CA, {"data": {"ca.crt": self._root_ca}})

    async def _ensure(self, resource: Resource, namespace: str, name: str, body: Raw) -> None:
        metadata = {"namespace": namespace, "name": name}
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        try:
            await self._world.client.create(resource, {**kind, "metadata": metadata, **body})
        except ApiError as error:
            if error.status not in (403, 404, 409):
                raise

    async def _empty(self, namespace: Raw) -> None:
        name = namespace["metadata"]["name"]
        left = 0
        for resource in await namespaced_resources(self._world.client):
            items, _ = await self._world.client.list(resource, namespace=name)
            left += len(items)
            for item in items:
                if not is_deleting(item):
                    await self._delete(resource, item)
        if left:
            self.queue.add_after(key_of(namespace), LOOK_AGAIN_S)
            return
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        others = [word for word in finalizers if word != "kubernetes"]
        body = {**namespace, "spec": {**(namespace.get("spec") or {}), "finalizers": others}}
        try:
            path = NAMESPACES.path(None, name, "finalize")
            await self._world.client.request("PUT", path, body=body)
        except ApiError as error:
            if error.status != 404:
                raise

    async def _delete(self, resource: Resource, item: Raw) -> None:
        try:
            await self._world.client.delete(resource, key_of(item))
        except ApiError as error:
            if error.status not in (404, 409):
                raise


async def namespaced_resources(client: Client) -> list[Resource]:
    """Return every resource that the server can list and delete in a namespace."""
    found = _resources(await client.request("GET", "/api/v1"), "", "v1")
    for group in (await client.request("GET", "/apis")).get("groups") or ():
        version = group["preferredVersion"]
        listing = await client.request("GET", f"/apis/{version['groupVersion']}")
        found += _resources(listing, group["name"], version["version"])
    return found


def _resources(listing: dict[str, Any], group: str, version: str) -> list[Resource]:
    return [
        Resource(group, version, item["name"], item["kind"])
        for item in listing.get("resources") or ()
        if item.get("namespaced")
        and "/" not in item["name"]
        and {"list", "delete"} <= set(item.get("verbs") or ())
    ]
