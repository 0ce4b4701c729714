"""EndpointSlices and Endpoints kept in step with pods, within milliseconds.

    Services, Pods, Nodes (their zones)  ->  EndpointSlices, Endpoints

Not here    What they should say (slices.py).
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from cairn.drive.kube_client import ApiError
from cairn.drive.work_queue import WorkQueue
from cairn.kube.metadata import Key
from cairn.kube.node import ZONE
from cairn.kube.resource import ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES
from cairn.lab.controllers.slices import (
    MANAGED_LABEL,
    MANAGER,
    SERVICE_LABEL,
    endpoints_of,
    slices_of,
)
from cairn.lab.controllers.world import Raw, World, ignore_gone, is_deleting
from cairn.reconcile import plan


class EndpointSlices:
    """Reconciles the endpoints of every Service that has a selector."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.queue: WorkQueue[Key] = WorkQueue("Service endpoints", self._reconcile)
        """Keys of Services whose endpoints may have changed."""
        self.mirror: WorkQueue[Key] = WorkQueue("Endpoints", self._write_endpoints)
        """Keys of Services whose Endpoints follow, after the slices that matter more."""
        self._selecting: dict[str, set[Key]] = defaultdict(set)
        world.follow(SERVICES, self._service_changed)
        world.follow(PODS, self._pod_changed)
        world.follow(NODES, self._node_changed)
        world.follow(ENDPOINT_SLICES, self._slice_changed)
        world.follow(ENDPOINTS, lambda key, old, new: self._endpoints_changed(key, new))

    def _service_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if new is not None and new["spec"].get("selector"):
            self._selecting[key.namespace].add(key)
        else:
            self._selecting[key.namespace].discard(key)
        if old is None or new is None or _meaning(old) != _meaning(new):
            self.queue.add(key)

    def _pod_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        for service_key in self._selecting[key.namespace]:
            service = self._world.get(SERVICES, service_key)
            if service and any(pod and _selects(service, pod) for pod in (old, new)):
                self.queue.add(service_key)

    def _node_changed(self, _key: Key, old: Raw | None, new: Raw | None) -> None:
        if _zone(old) != _zone(new):
            for keys in self._selecting.values():
                for service_key in keys:
                    self.queue.add(service_key)

    def _slice_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        labels = (new or old or {"metadata": {}})["metadata"].get("labels") or {}
        if labels.get(MANAGED_LABEL) == MANAGER and labels.get(SERVICE_LABEL):
            self.queue.add(Key(key.namespace, labels[SERVICE_LABEL]))

    def _endpoints_changed(self, key: Key, new: Raw | None) -> None:
        if key in self._selecting[key.namespace]:
            self.mirror.add(key)

    async def _reconcile(self, key: Key) -> None:
        service = self._world.get(SERVICES, key)
        actual = self._slices(key)
        desired: Mapping[str, Raw] = {}
        if service is not None and not is_deleting(service):
            if not service["spec"].get("selector"):
                return
            zones = {node["metadata"]["name"]: _zone(node) for node in self._world.all(NODES)}
            desired = slices_of(service, self._pods(service), zones)
        changes = plan(
            {name: _content(item) for name, item in actual.items()},
            {name: _content(item) for name, item in desired.items()},
        )
        for name in changes.create:
            await self._create(desired[name])
        for name in changes.update:
            have, want = actual[name], desired[name]
            metadata = {**have["metadata"], "labels": want["metadata"]["labels"]}
            await self._world.replace(ENDPOINT_SLICES, {**want, "metadata": metadata})
        for name in changes.delete:
            await self._world.delete(ENDPOINT_SLICES, actual[name])
        if changes or self._world.get(ENDPOINTS, key) is None:
            self.mirror.add(key)

    async def _create(self, wanted: Raw) -> None:
        try:
            await self._world.create(ENDPOINT_SLICES, wanted)
        except ApiError as error:
            if error.status not in (404, 403):  # the namespace is on its way out
                raise

    async def _write_endpoints(self, key: Key) -> None:
        service = self._world.get(SERVICES, key)
        have = self._world.get(ENDPOINTS, key)
        if service is None or is_deleting(service):
            if have is not None and _mirrored(have):
                await self._world.delete(ENDPOINTS, have)
            return
        if not service["spec"].get("selector"):
            return
        want = endpoints_of(service, self._slices(key).values())
        if have is None:
            with ignore_gone():
                await self._world.create(ENDPOINTS, want)
        elif _plain(have.get("subsets")) != _plain(want["subsets"]):
            metadata = {**have["metadata"], "labels": want["metadata"]["labels"]}
            await self._world.replace(ENDPOINTS, {**want, "metadata": metadata})

    def _slices(self, key: Key) -> dict[str, Raw]:
        found = {}
        for item in self._world.all(ENDPOINT_SLICES):
            metadata = item["metadata"]
            labels = metadata.get("labels") or {}
            if (
                metadata.get("namespace") == key.namespace
                and labels.get(SERVICE_LABEL) == key.name
                and labels.get(MANAGED_LABEL) == MANAGER
            ):
                found[metadata["name"]] = item
        return found

    def _pods(self, service: Raw) -> list[Raw]:
        return [pod for pod in self._world.all(PODS) if _selects(service, pod)]


def _selects(service: Raw, pod: Raw) -> bool:
    if pod["metadata"].get("namespace") != service["metadata"].get("namespace"):
        return False
    labels = pod["metadata"].get("labels") or {}
    selector = service["spec"].get("selector") or {}
    return bool(selector) and all(labels.get(k) == v for k, v in selector.items())


def _zone(node: Raw | None) -> str:
    labels = (node or {"metadata": {}})["metadata"].get("labels") or {}
    return str(labels.get(ZONE) or "")


def _meaning(service: Raw) -> Any:
    return service["spec"], service["metadata"].get("labels"), is_deleting(service)


def _mirrored(endpoints: Raw) -> bool:
    labels = endpoints["metadata"].get("labels") or {}
    return labels.get("endpoints.kubernetes.io/managed-by") == "endpoint-controller"


def _content(item: Raw) -> Any:
    fields = {name: _plain(item.get(name)) for name in ("addressType", "endpoints", "ports")}
    return {**fields, "labels": item["metadata"].get("labels")}


def _plain(value: Any) -> Any:
    """Return a value without what is null or empty: a server may keep such fields or not."""
    if isinstance(value, dict):
        parts = {name: _plain(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part not in (None, "", [], {})}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value
