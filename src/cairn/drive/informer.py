"""A local copy of one resource that follows the API server.

    list, watch events  ->  objects, on_change(key, old, new)

Invariants  on_change is called once per difference, also for those found by a new list after an
            outage; `objects` already holds the new state when it is called.
            Without `keep` only keys and versions are held, and `old` is None: the raw JSON of
            ten thousand objects is larger than all that is made of them.
            An unreachable server changes nothing: the last known state stays (fail static).
            An object that on_change cannot read is reported, and the others go on.
            A resource that is `optional` and that the server does not know counts as empty until
            it does.
Standards   Kubernetes API concepts, "Efficient detection of changes"
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from cairn.drive.kube_client import ApiError, Client, Unreachable
from cairn.kube.metadata import Key, key_of
from cairn.kube.resource import Resource

RawObject = dict[str, Any]
OnChange = Callable[[Key, RawObject | None, RawObject | None], None]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
NOT_FOUND, GONE = 404, 410

log = logging.getLogger(__name__)


class Informer:
    """Follows one resource, or the part of it that the selectors choose."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        on_change: OnChange,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        keep: bool = True,
        optional: bool = False,
    ) -> None:
        self.objects: dict[Key, RawObject] = {}
        """What the server holds, as far as we know; nothing if it is not to be kept."""
        self.synced = asyncio.Event()
        """Set once the first list is in `objects`."""
        self.reachable = False
        """Whether the last request to the server was answered."""
        self.error = ""
        """Why not."""
        self.resource = resource
        """What it follows."""
        self._lost_at: float | None = None
        self._client = client
        self._resource = resource
        self._on_change = on_change
        self._namespace = namespace
        self._labels = label_selector
        self._fields = field_selector
        self._keep = keep
        self._optional = optional
        self._versions: dict[Key, str] = {}

    @property
    def silent_s(self) -> float | None:
        """How long the server has not answered; 0 while it does, None before it ever did."""
        if self.reachable:
            return 0.0
        return None if self._lost_at is None else time.monotonic() - self._lost_at

    async def run(self) -> None:
        """List and watch until cancelled."""
        version: str | None = None
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if version is None:
                    version = await self._relist()
                async for kind, obj in self._client.watch(
                    self._resource,
                    resource_version=version,
                    namespace=self._namespace,
                    label_selector=self._labels,
                    field_selector=self._fields,
                    on_open=self._answered,
                ):
                    version = obj["metadata"]["resourceVersion"]
                    pause_s = FIRST_PAUSE_S
                    self._take(kind, obj)
                # A server that ends each watch at once must not make us spin.
                await asyncio.sleep(FIRST_PAUSE_S / 2)
            except ApiError as error:
                if not isinstance(error, Unreachable):
                    version = None
                self._report(error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _relist(self) -> str:
        gone = set(self._versions)
        version = ""
        async for items, now in self._client.pages(
            self._resource,
            namespace=self._namespace,
            label_selector=self._labels,
            field_selector=self._fields,
        ):
            version = now
            for item in items:
                key = key_of(item)
                gone.discard(key)
                if self._versions.get(key) != item["metadata"].get("resourceVersion"):
                    self._change(key, item)
        for key in gone:
            self._change(key, None)
        self._answered()
        self.synced.set()
        return version

    def _take(self, kind: str, obj: RawObject) -> None:
        if kind in ("ADDED", "MODIFIED"):
            self._change(key_of(obj), obj)
        elif kind == "DELETED":
            self._change(key_of(obj), None)

    def _change(self, key: Key, new: RawObject | None) -> None:
        old = self.objects.pop(key, None)
        self._versions.pop(key, None)
        if new is not None:
            self._versions[key] = new["metadata"].get("resourceVersion") or ""
            if self._keep:
                self.objects[key] = new
        try:
            self._on_change(key, old, new)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            # One malformed object must not stop what depends on all the others.
            log.error("%s %s cannot be read: %r", self._resource.plural, key, error)

    def _answered(self) -> None:
        if not self.reachable and self.synced.is_set():
            log.info("%s: the API server answers again", self._resource.plural)
        self.reachable = True
        self.error = ""

    def _report(self, error: ApiError) -> None:
        if error.status == GONE:
            return
        if error.status == NOT_FOUND and self._optional:
            if not self.synced.is_set():
                log.info("%s: the API server does not know them; waiting", self._resource.plural)
            self.synced.set()
            return
        if self.reachable or not self.synced.is_set():
            log.warning("%s: %s; keeping what is known", self._resource.plural, error.message)
        if self.reachable:
            self._lost_at = time.monotonic()
        self.error = error.message
        self.reachable = False
