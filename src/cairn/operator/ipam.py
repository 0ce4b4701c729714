"""LB-IPAM at work: watches pools and Services, and writes addresses, conditions and Events.

    pools, Services, nodes, policies  ->  Service status, pool status, Events

Invariants  What was decided counts as held at once, before the server has it: two passes in quick
            succession cannot give one address twice. Our own writes coming back cause no work.
Not here    The decision (compile.ipam).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cairn.compile.ipam import IpamResult, Notice, Verdict, compile_ipam
from cairn.compile.ipam_surroundings import Surroundings, surroundings
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.informer import Informer, OnChange
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_text
from cairn.kube.load_balancer import SATISFIED, LoadBalancer, load_balancer_of
from cairn.kube.metadata import Key
from cairn.kube.node import Node
from cairn.kube.peering_policy import peering_policy_of
from cairn.kube.pool import Pool, pool_of
from cairn.kube.resource import BGP_PEERING_POLICIES, NODES, POOLS, SERVICES
from cairn.net import Address, parse_address
from cairn.operator.condition import merge
from cairn.operator.metrics import OperatorFigures
from cairn.operator.pool_status import pool_conditions
from cairn.operator.segments import Conflict, Segments

GATHER_S = 0.002
"""How long events are gathered before a pass."""
RETRY_S = 1.0
PARALLEL_WRITES = 24

log = logging.getLogger(__name__)

Raw = dict[str, Any]


@dataclass(slots=True)
class _Decided:
    """A write on its way, or one that the watch has not shown yet."""

    held: tuple[Address, ...]
    condition: Mapping[str, Any] | None
    version: str = ""


class Ipam:
    """Addresses every Service; `run` works until cancelled."""

    def __init__(
        self,
        client: Client,
        recorder: EventRecorder,
        *,
        on_service: OnChange | None = None,
        on_conflicts: Callable[[Mapping[Address, Conflict]], None] = lambda _: None,
        figures: OperatorFigures | None = None,
    ) -> None:
        """Address the Services of `client`; `on_service` sees every change of one too.

        `on_conflicts` hears which addresses strangers answer for, as the nodes tell.
        """
        self._client = client
        self._figures = figures or OperatorFigures()
        self._on_service = on_service
        self._recorder = recorder
        self._pools: dict[Key, Pool] = {}
        self._services: dict[Key, LoadBalancer] = {}
        self._decided: dict[Key, _Decided] = {}
        self._dirty = asyncio.Event()
        self._writes = asyncio.Semaphore(PARALLEL_WRITES)
        self._waiting = 0
        self._untold: list[tuple[Raw, Notice]] = []
        self._pool_informer = Informer(client, POOLS, on_change=self._pool_changed)
        self._service_informer = Informer(client, SERVICES, on_change=self._service_seen)
        self._node_informer = Informer(client, NODES, on_change=self._node_changed)
        self._policy_informer = Informer(
            client, BGP_PEERING_POLICIES, on_change=self._policy_changed
        )
        self._segments = Segments(
            client,
            is_ready=self._is_ready,
            on_proof=self._dirty.set,
            on_conflicts=on_conflicts,
        )

    async def run(self) -> None:
        """Follow the API and keep every address given."""
        informers = (
            self._pool_informer,
            self._service_informer,
            self._node_informer,
            self._policy_informer,
        )
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            group.create_task(self._segments.run())
            for informer in informers:
                await informer.synced.wait()
            await self._segments.synced()
            while True:
                await self._dirty.wait()
                await asyncio.sleep(GATHER_S)
                self._dirty.clear()
                try:
                    self._pass(group)
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    # An object of a shape that no schema held off: what was given stays given.
                    log.error("addresses are not looked at: %r; they stay as they are", error)

    def _pass(self, group: asyncio.TaskGroup) -> None:
        around = self._surroundings()
        result = compile_ipam(
            self._pools.values(),
            self._services.values(),
            reserved=around.reserved,
            node_networks=around.networks,
            proof=self._segments.proof(),
        )
        self._segments.ask(result.due)
        self._figures.pools = result.pools
        self._figures.services = Counter(bool(v.addresses) for v in result.services.values())
        for key, verdict in result.services.items():
            if self._differs(key, verdict):
                group.create_task(self._write_service(key, *self._decide(key, verdict), verdict))
        group.create_task(self._write_pools(result))

    @property
    def reachable(self) -> bool:
        """Whether the API server answers."""
        return self._service_informer.reachable and self._pool_informer.reachable

    def _is_ready(self, node: str) -> bool:
        raw = self._node_informer.objects.get(Key("", node))
        return raw is not None and Node.from_object(raw).ready

    def _surroundings(self) -> Surroundings:
        return surroundings(
            map(Node.from_object, self._node_informer.objects.values()),
            map(peering_policy_of, self._policy_informer.objects.values()),
        )

    def _differs(self, key: Key, verdict: Verdict) -> bool:
        service = self._services[key]
        if tuple(map(str, service.held)) != verdict.addresses:
            return True
        stands = service.condition
        if verdict.reason is None or stands is None:
            return (verdict.reason is None) != (stands is None)
        return (stands.get("reason"), stands.get("message"), stands.get("status")) != (
            verdict.reason.code,
            verdict.reason.message,
            _truth(satisfied=verdict.satisfied),
        )

    def _decide(self, key: Key, verdict: Verdict) -> tuple[_Decided, Raw]:
        """Count the verdict as held from now on; return the patch that says so."""
        raw = self._service_informer.objects[key]
        stored = (raw.get("status") or {}).get("conditions") or []
        wanted = []
        if verdict.reason is not None:
            wanted.append(
                {
                    "type": SATISFIED,
                    "status": _truth(satisfied=verdict.satisfied),
                    "reason": verdict.reason.code,
                    "message": verdict.reason.message,
                }
            )
        conditions = merge(stored, wanted, now=now_text(), owned=[SATISFIED])
        ours = next((c for c in conditions if c["type"] == SATISFIED), None)
        held = tuple(parse_address(text) for text in verdict.addresses)
        decided = self._decided[key] = _Decided(held, ours)
        self._services[key] = replace(self._services[key], held=held, condition=ours)
        ingress = [{"ip": text, "ipMode": "VIP"} for text in verdict.addresses]
        return decided, {
            "metadata": {"uid": raw["metadata"].get("uid")},
            "status": {"loadBalancer": {"ingress": ingress or None}, "conditions": conditions},
        }

    async def _write_service(
        self, key: Key, decided: _Decided, patch: Raw, verdict: Verdict
    ) -> None:
        self._waiting += 1
        try:
            async with self._writes:
                if self._decided.get(key) is not decided:
                    return  # a later pass decided otherwise and writes itself
                stored = await self._client.patch(SERVICES, key, patch, subresource="status")
            self._untold += [(stored, notice) for notice in verdict.notices]
        except ApiError as error:
            await self._give_up(key, decided, error)
            return
        finally:
            self._waiting -= 1
            self._tell()
        decided.version = stored["metadata"]["resourceVersion"]
        seen = self._service_informer.objects.get(key)
        if seen is not None and _reached(seen, decided.version):
            self._settle(key, seen)

    def _tell(self) -> None:
        """Record what there is to say, once no address waits to be written."""
        if self._waiting:
            return
        for about, notice in self._untold:
            self._recorder.record(about, notice.reason, notice.message, warning=notice.warning)
        self._untold.clear()

    async def _give_up(self, key: Key, decided: _Decided, error: ApiError) -> None:
        if error.status not in (404, 409):
            log.warning("Service %s: address not written: %s", key, error.message)
            await asyncio.sleep(RETRY_S)
        if self._decided.get(key) is decided:
            del self._decided[key]
            raw = self._service_informer.objects.get(key)
            self._service_changed(key, None, raw)
            self._dirty.set()

    async def _write_pools(self, result: IpamResult) -> None:
        for key, raw in list(self._pool_informer.objects.items()):
            state = result.pools.get(key.name)
            pool = self._pools.get(key)
            if state is None or pool is None:
                continue
            stored = (raw.get("status") or {}).get("conditions") or []
            wanted, owned = pool_conditions(state, pool.metadata.generation)
            merged = merge(stored, wanted, now=now_text(), owned=owned)
            if merged == stored:
                continue
            try:
                async with self._writes:
                    await self._client.patch(
                        POOLS, key, {"status": {"conditions": merged}}, subresource="status"
                    )
            except ApiError as error:
                if error.status != 404:
                    log.warning("pool %s: status not written: %s", key, error.message)
                    self._dirty.set()
                    await asyncio.sleep(RETRY_S)
                continue
            said = {c.get("message") for c in stored}
            for item in wanted:
                telling = item["type"] in ("cairn.io/Findings", "cilium.io/PoolConflict")
                if telling and item["status"] == "True" and item["message"] not in said:
                    self._recorder.record(raw, item["reason"], item["message"], warning=True)

    def _pool_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        before = self._pools.pop(key, None)
        if new is not None:
            self._pools[key] = pool_of(new)
        if before != self._pools.get(key):
            self._dirty.set()

    def _service_seen(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        self._service_changed(key, old, new)
        if self._on_service:
            self._on_service(key, old, new)

    def _service_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        before = self._services.get(key)
        if new is None or (old and old["metadata"].get("uid") != new["metadata"].get("uid")):
            self._decided.pop(key, None)
        if new is None:
            self._services.pop(key, None)
        else:
            self._settle(key, new)
        if before != self._services.get(key):
            self._dirty.set()

    def _settle(self, key: Key, raw: Raw) -> None:
        """Take the stored Service, with what was decided since laid over it."""
        decided = self._decided.get(key)
        if decided and decided.version == raw["metadata"].get("resourceVersion"):
            # Our own write come back: the view holds it since it was decided.
            del self._decided[key]
            return
        view = load_balancer_of(raw)
        if decided and decided.version and _reached(raw, decided.version):
            del self._decided[key]
            decided = None
        if decided:
            view = replace(view, held=decided.held, condition=decided.condition)
        self._services[key] = view

    def _node_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if _addresses(old) != _addresses(new):
            self._dirty.set()

    def _policy_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if (old or {}).get("spec") != (new or {}).get("spec"):
            self._dirty.set()


def _truth(*, satisfied: bool) -> str:
    return "True" if satisfied else "False"


def _addresses(raw: Raw | None) -> Any:
    return ((raw or {}).get("status") or {}).get("addresses")


def _reached(raw: Raw, version: str) -> bool:
    """Return whether a stored object is at least as new as `version`."""
    have = raw["metadata"].get("resourceVersion") or ""
    if have.isdigit() and version.isdigit():
        return int(have) >= int(version)
    return bool(have == version)
