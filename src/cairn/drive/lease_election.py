"""One leader among the replicas of a process, by a Lease.

    Lease  ->  lead() runs in one process at a time

Invariants  `lead` is cancelled before the Lease can be another's: renewal gives up well within the
            Lease's duration, measured by our own monotonic clock.
            A holder's silence is measured from when we saw its Lease change, never by its clock.
Standards   Kubernetes coordination.k8s.io/v1 Lease
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_micro_text
from cairn.kube.metadata import Key
from cairn.kube.resource import LEASES

DURATION_S = 15
GIVE_UP_S = 10.0
RENEW_S = 2.0

log = logging.getLogger(__name__)


class Election:
    """Stands for one Lease under one identity."""

    def __init__(self, client: Client, key: Key, identity: str) -> None:
        self._client = client
        self._key = key
        self._identity = identity
        self._seen = ""
        self._seen_at = 0.0
        self._rival = ""
        self._said = ""

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease and lead while it is ours, again and again until cancelled."""
        while True:
            if not await self._try():
                await asyncio.sleep(RENEW_S)
                continue
            log.info("leading as %s (Lease %s)", self._identity, self._key)
            await self._lead(lead)
            log.warning("no longer leading: Lease %s was not renewed", self._key)

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        leading = asyncio.ensure_future(lead())
        keeping = asyncio.ensure_future(self._keep())
        try:
            await asyncio.wait({leading, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if leading.done():
                leading.result()
        except asyncio.CancelledError:
            await self._stop(keeping, leading)
            await self._release()
            raise
        finally:
            await self._stop(keeping, leading)

    async def _stop(self, *tasks: "asyncio.Future[None]") -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while loop.time() - renewed < GIVE_UP_S:
            await asyncio.sleep(RENEW_S)
            # The server may have written long before it answers: count from before we asked.
            asked = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(asked + RENEW_S * 2, renewed + GIVE_UP_S)):
                    if await self._try():
                        renewed = asked
                    elif self._rival:
                        return

    async def _try(self) -> bool:
        """Return whether the Lease is ours now."""
        self._rival = ""
        try:
            lease = await self._client.get(LEASES, self._key)
        except ApiError as error:
            return await self._create() if error.status == 404 else self._failed(error)
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity) and not self._silent(spec):
            self._rival = holder
            return False
        taken = holder != self._identity
        now = now_micro_text()
        lease["spec"] = {
            **spec,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_S,
            "renewTime": now,
            "acquireTime": now if taken else spec.get("acquireTime") or now,
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + taken,
        }
        try:
            await self._client.replace(LEASES, lease)
        except ApiError as error:
            return self._failed(error)
        self._said = ""
        return True

    def _silent(self, spec: dict[str, Any]) -> bool:
        mark = f"{spec.get('holderIdentity')} {spec.get('renewTime')}"
        now = asyncio.get_running_loop().time()
        if mark != self._seen:
            self._seen, self._seen_at = mark, now
        return now - self._seen_at > float(spec.get("leaseDurationSeconds") or DURATION_S)

    async def _create(self) -> bool:
        now = now_micro_text()
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self._key.namespace, "name": self._key.name},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": DURATION_S,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        try:
            await self._client.create(LEASES, lease)
        except ApiError as error:
            return self._failed(error)
        return True

    def _failed(self, error: ApiError) -> bool:
        if error.status != 409 and error.message != self._said:
            log.warning("Lease %s: %s; trying again", self._key, error.message)
            self._said = error.message
        return False

    async def _release(self) -> None:
        try:
            lease = await self._client.get(LEASES, self._key)
            if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._client.replace(LEASES, lease)
        except ApiError as error:
            log.info("Lease %s not released: %s", self._key, error.message)
