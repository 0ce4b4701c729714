"""The Node object: what this node is, and a sign of life every few seconds.

    machine facts, CNI configuration  ->  Node, Lease kube-node-lease/NAME

Standards   Kubernetes API reference, Node; KEP-589 (node leases)
"""

import asyncio
import logging
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cairn
from cairn.drive.kube_client import ApiError
from cairn.kube.metadata import Key
from cairn.kube.resource import LEASES, NODES
from cairn.lab.kubelet import cni_call
from cairn.lab.kubelet.recorder import rfc3339
from cairn.lab.kubelet.station import Station

PORT = 10250
BEAT_S = 10.0
LEASE_S = 40
LOOK_S = 0.5
"""How often the CNI configuration is looked for: a node becomes Ready soon after it is there."""
SHOWN_VERSION = "v1.33.0"

log = logging.getLogger(__name__)


def node_object(name: str, pod_networks: Sequence[str]) -> dict[str, Any]:
    """Return the Node as it is first created."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": _architecture(),
                "node-role.kubernetes.io/worker": "",
            },
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {"podCIDR": pod_networks[0], "podCIDRs": list(pod_networks)},
    }


def node_status(
    name: str,
    addresses: Sequence[str],
    before: Sequence[dict[str, Any]],
    ready: bool,
    reason: str,
) -> dict[str, Any]:
    """Return the Node's status; times of conditions are kept while they do not change."""
    now = rfc3339()
    known = {condition["type"]: condition for condition in before}
    rows = [
        ("MemoryPressure", False, "KubeletHasSufficientMemory", "memory is available"),
        ("DiskPressure", False, "KubeletHasNoDiskPressure", "disk space is available"),
        ("PIDPressure", False, "KubeletHasSufficientPID", "process numbers are available"),
        ("Ready", ready, "KubeletReady" if ready else "KubeletNotReady", reason),
    ]
    conditions = []
    for kind, holds, why, text in rows:
        status = "True" if holds else "False"
        old = known.get(kind) or {}
        since = old.get("lastTransitionTime") if old.get("status") == status else now
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": now,
                "lastTransitionTime": since or now,
                "reason": why,
                "message": text,
            }
        )
    amounts = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{_memory_kib()}Ki",
        "pods": "110",
        "ephemeral-storage": f"{_disk_kib()}Ki",
    }
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in addresses),
            {"type": "Hostname", "address": name},
        ],
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
        "nodeInfo": _node_info(),
    }


def _node_info() -> dict[str, str]:
    release = platform.freedesktop_os_release()
    return {
        "architecture": _architecture(),
        "bootID": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "containerRuntimeVersion": f"cairn-lab://{cairn.__version__}",
        "kernelVersion": platform.release(),
        "kubeProxyVersion": "",
        "kubeletVersion": SHOWN_VERSION,
        "machineID": "",
        "operatingSystem": "linux",
        "osImage": release.get("PRETTY_NAME", "Linux"),
        "systemUUID": "",
    }


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _disk_kib() -> int:
    disk = os.statvfs("/")
    return disk.f_blocks * disk.f_frsize // 1024


def _memory_kib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0


class NodeReporter:
    """Registers the node and keeps its object and lease fresh."""

    def __init__(self, station: Station, pod_networks: Sequence[str]) -> None:
        self._station = station
        self._pod_networks = pod_networks
        self._conditions: list[dict[str, Any]] = []
        self._key = Key("", station.node)

    async def run(self) -> None:
        """Report until cancelled."""
        told: tuple[bool, str] | None = None
        due = 0.0
        loop = asyncio.get_running_loop()
        while True:
            state = self._readiness()
            if state != told or loop.time() >= due:
                try:
                    await self._report(*state)
                    if told is None or told[0] != state[0]:
                        log.info("node %s is %s: %s", self._key, _word(state[0]), state[1])
                    told, due = state, loop.time() + BEAT_S
                except ApiError as error:
                    log.warning("node %s not reported: %s", self._key, error.message)
            await asyncio.sleep(LOOK_S)

    def _readiness(self) -> tuple[bool, str]:
        try:
            network = cni_call.load_network(self._station.places.cni_config)
        except cni_call.CniFailed as error:
            return False, f"container runtime network not ready: {error}"
        return True, f"kubelet is posting ready status; network {network.name}"

    async def _report(self, ready: bool, reason: str) -> None:
        client = self._station.client
        if not self._conditions:
            node = await self._register()
            self._conditions = list((node.get("status") or {}).get("conditions") or ())
        addresses = self._station.addresses
        status = node_status(self._key.name, addresses, self._conditions, ready, reason)
        try:
            await client.patch(NODES, self._key, {"status": status}, subresource="status")
        except ApiError as error:
            if error.status == 404:  # deleted by someone: register again
                self._conditions = []
            raise
        self._conditions = status["conditions"]
        await self._renew_lease()

    async def _register(self) -> dict[str, Any]:
        wanted = node_object(self._key.name, self._pod_networks)
        try:
            return await self._station.client.create(NODES, wanted)
        except ApiError as error:
            if error.status != 409:
                raise
        found = await self._station.client.get(NODES, self._key)
        patch: dict[str, Any] = {"metadata": {"labels": wanted["metadata"]["labels"]}}
        known = (found.get("spec") or {}).get("podCIDRs") or ()
        if len(known) < len(self._pod_networks):
            patch["spec"] = wanted["spec"]
        return await self._station.client.patch(NODES, self._key, patch)

    async def _renew_lease(self) -> None:
        client = self._station.client
        key = Key("kube-node-lease", self._key.name)
        renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            await client.patch(LEASES, key, {"spec": {"renewTime": renewed}})
        except ApiError as error:
            if error.status != 404:
                raise
            await client.create(
                LEASES,
                {
                    "apiVersion": LEASES.api_version,
                    "kind": "Lease",
                    "metadata": {"name": key.name, "namespace": key.namespace},
                    "spec": {
                        "holderIdentity": key.name,
                        "leaseDurationSeconds": LEASE_S,
                        "renewTime": renewed,
                    },
                },
            )


def _word(ready: bool) -> str:
    return "Ready" if ready else "NotReady"
