"""BGP objects at work: policies become node configurations, nodes' reports become statuses.

    policies, nodes, node configs  ->  CiliumBGPNodeConfig, CiliumBGPAdvertisement, policy status

Invariants  Only node configs that a policy owns are changed or deleted.
            While an object cannot be read nothing is changed: its sessions stay as they are.
Not here    The decisions (compile.bgp_nodes, compile.bgp_summary); sessions (agent, speaker).
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any

from cairn.compile.bgp_nodes import BgpNodes, NodeConfig, checked, compile_bgp_nodes
from cairn.compile.bgp_summary import (
    PolicySummary,
    advertisement_spec,
    advertisement_status,
    summarize_policy,
)
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.informer import Informer, OnChange
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_text
from cairn.kube.metadata import Key
from cairn.kube.node import Node
from cairn.kube.peering_policy import PeeringPolicy, peering_policy_of
from cairn.kube.resource import (
    BGP_ADVERTISEMENTS,
    BGP_NODE_CONFIGS,
    BGP_PEERING_POLICIES,
    NODES,
    Resource,
)
from cairn.operator.condition import condition, merge
from cairn.reconcile import plan

GATHER_S = 0.005
RETRY_S = 1.0
OWNED = ("cairn.io/Selected", "cairn.io/Conflict", "cairn.io/Established", "cairn.io/Findings")
TELLING = {
    ("cairn.io/Conflict", "True"),
    ("cairn.io/Findings", "True"),
    ("cairn.io/Selected", "False"),
}
"""Conditions that are worth an Event too."""

log = logging.getLogger(__name__)

Raw = dict[str, Any]


class Bgp:
    """Keeps the BGP objects; `run` works until cancelled."""

    def __init__(
        self,
        client: Client,
        recorder: EventRecorder,
        *,
        on_policy: OnChange | None = None,
        on_advertisement: OnChange | None = None,
    ) -> None:
        """Keep the objects of `client`; the callbacks see every change of these kinds too."""
        self._client = client
        self._recorder = recorder
        self._dirty = asyncio.Event()
        self._policies = Informer(
            client, BGP_PEERING_POLICIES, on_change=self._changed_and(on_policy)
        )
        self._nodes = Informer(client, NODES, on_change=self._node_changed)
        self._configs = Informer(client, BGP_NODE_CONFIGS, on_change=self._changed)
        self._advertisements = Informer(
            client, BGP_ADVERTISEMENTS, on_change=self._changed_and(on_advertisement)
        )

    @property
    def node_configs(self) -> Collection[Raw]:
        """What every node is to do in BGP, and reports of it."""
        return self._configs.objects.values()

    async def run(self) -> None:
        """Follow the API and keep every object as it should be."""
        informers = (self._policies, self._nodes, self._configs, self._advertisements)
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            for informer in informers:
                await informer.synced.wait()
            while True:
                await self._dirty.wait()
                await asyncio.sleep(GATHER_S)
                self._dirty.clear()
                try:
                    await self._pass()
                except ApiError as error:
                    if error.status not in (404, 409):
                        log.warning("BGP objects: %s; trying again", error.message)
                        await asyncio.sleep(RETRY_S)
                    self._dirty.set()
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    # An object of a shape that no schema held off: what stands stays.
                    log.error("BGP objects cannot be read: %r; nothing is changed", error)

    async def _pass(self) -> None:
        policies = {
            key.name: checked(peering_policy_of(obj)) for key, obj in self._policies.objects.items()
        }
        nodes = [Node.from_object(obj) for obj in self._nodes.objects.values()]
        compiled = compile_bgp_nodes(policies.values(), nodes)
        await self._write_configs(compiled.configs)
        reports = {key.name: obj for key, obj in self._configs.objects.items()}
        ready = {node.name for node in nodes if node.ready}
        for name, policy in policies.items():
            summary = summarize_policy(policy, compiled.policies[name], reports, ready)
            await self._write_policy(policy, summary)
            await self._write_advertisement(policy, compiled, reports)
        for key, obj in list(self._advertisements.objects.items()):
            if _policy_owner(obj) and key.name not in policies:
                await self._delete(BGP_ADVERTISEMENTS, key)

    async def _write_configs(self, wanted: Mapping[str, NodeConfig]) -> None:
        stored = {key.name: obj for key, obj in self._configs.objects.items()}
        actual = {
            name: {"spec": obj.get("spec"), "owner": _policy_owner(obj)}
            for name, obj in stored.items()
            if _policy_owner(obj) or name in wanted
        }
        desired = {
            name: {"spec": dict(config.spec), "owner": config.policy}
            for name, config in wanted.items()
        }
        changes = plan(actual, desired)
        for name in changes.delete:
            await self._delete(BGP_NODE_CONFIGS, Key("", name))
        for name in changes.create:
            body = _owned(BGP_NODE_CONFIGS, name, wanted[name].policy, wanted[name].policy_uid)
            await self._client.create(BGP_NODE_CONFIGS, {**body, "spec": wanted[name].spec})
        for name in changes.update:
            config = wanted[name]
            body = _owned(BGP_NODE_CONFIGS, name, config.policy, config.policy_uid)
            fresh = {**stored[name], "spec": config.spec}
            references = body["metadata"]["ownerReferences"]
            fresh["metadata"] = {**stored[name]["metadata"], "ownerReferences": references}
            await self._client.replace(BGP_NODE_CONFIGS, fresh)

    async def _write_policy(self, policy: PeeringPolicy, summary: PolicySummary) -> None:
        raw = self._policies.objects.get(Key("", policy.name))
        if raw is None:
            return
        stored = raw.get("status") or {}
        wanted = [
            condition(
                state.type,
                "True" if state.status else "False",
                state.reason,
                state.message,
                generation=policy.metadata.generation,
            )
            for state in summary.conditions
        ]
        status = {
            "nodes": summary.nodes,
            "sessions": f"{summary.established}/{summary.configured}",
            "sessionsEstablished": summary.established,
            "sessionsConfigured": summary.configured,
            "announced": summary.announced,
            "reason": next((c.message for c in summary.conditions if not c.status), ""),
            "conditions": merge(
                stored.get("conditions") or [], wanted, now=now_text(), owned=OWNED
            ),
        }
        if {name: stored.get(name) for name in status} == status:
            return
        await self._client.patch(
            BGP_PEERING_POLICIES, Key("", policy.name), {"status": status}, subresource="status"
        )
        said = {c.get("message") for c in stored.get("conditions") or ()}
        for item in wanted:
            if (item["type"], item["status"]) in TELLING and item["message"] not in said:
                self._recorder.record(raw, item["reason"], item["message"], warning=True)
        if stored.get("sessions") != status["sessions"]:
            log.info("BGP policy %s: %s sessions established", policy.name, status["sessions"])

    async def _write_advertisement(
        self, policy: PeeringPolicy, compiled: BgpNodes, reports: Mapping[str, Raw]
    ) -> None:
        key = Key("", policy.name)
        spec = advertisement_spec(policy)
        status = advertisement_status(compiled.policies[policy.name], reports)
        stored = self._advertisements.objects.get(key)
        if stored is None:
            body = _owned(BGP_ADVERTISEMENTS, policy.name, policy.name, policy.metadata.uid)
            body["metadata"]["labels"] = {"cairn.io/policy": policy.name}
            stored = await self._client.create(BGP_ADVERTISEMENTS, {**body, "spec": spec})
        elif not _policy_owner(stored):
            return  # a user's own advertisement of that name
        elif stored.get("spec") != spec:
            stored = await self._client.replace(BGP_ADVERTISEMENTS, {**stored, "spec": spec})
        have = stored.get("status") or {}
        if {name: have.get(name) for name in status} != status:
            await self._client.patch(
                BGP_ADVERTISEMENTS, key, {"status": status}, subresource="status"
            )

    async def _delete(self, resource: Resource, key: Key) -> None:
        try:
            await self._client.delete(resource, key)
        except ApiError as error:
            if error.status != 404:
                raise

    def _changed_and(self, other: OnChange | None) -> OnChange:
        def on_change(key: Key, old: Raw | None, new: Raw | None) -> None:
            self._changed(key, old, new)
            if other:
                other(key, old, new)

        return on_change

    def _changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        self._dirty.set()

    def _node_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        # A node's heartbeat changes nothing here.
        if old is None or new is None or Node.from_object(old) != Node.from_object(new):
            self._dirty.set()


def _policy_owner(obj: Mapping[str, Any]) -> str:
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("kind") == BGP_PEERING_POLICIES.kind:
            return str(reference.get("name"))
    return ""


def _owned(resource: Resource, name: str, policy: str, uid: str) -> Raw:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "ownerReferences": [
                {
                    "apiVersion": BGP_PEERING_POLICIES.api_version,
                    "kind": BGP_PEERING_POLICIES.kind,
                    "name": policy,
                    "uid": uid,
                    "controller": True,
                }
            ],
        },
    }
