"""Pods with whom they belong to, and the pods that workloads without any would make.

objects  ->  Pod(workload, owner, ports)
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cairn.kube.metadata import Key, Object, key_of
from cairn.kube.policy.workload import Workload
from cairn.net import Protocol

_HASH = re.compile(r"-[a-z0-9]{5,10}$")
_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod, or one that could be."""

    workload: Workload
    """What policies see."""
    owner: str
    """Kind and name of what made it: `Deployment/web`; of the pod itself if nothing did."""
    ports: tuple[tuple[int, int], ...]
    """Protocol and number of the ports that its containers declare."""
    exists: bool = True
    """Whether it is there, and does not just stand for those that a workload would make."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.workload.key

    @property
    def group(self) -> str:
        """What it is called together with its likes: `production/web`."""
        return f"{self.key.namespace}/{self.owner.partition('/')[2]}"


def pods_of(objects: Iterable[Object]) -> Iterator[Pod]:
    """Yield the pods among objects, and one for each workload that has none."""
    listed = list(objects)
    owners = _owners(listed)
    owned: set[tuple[str, str]] = set()
    for obj in listed:
        if obj.get("kind") == "Pod" and (obj.get("status") or {}).get("phase") not in _ENDED:
            pod = _pod(obj, _owner(obj, owners))
            owned.add((pod.key.namespace, pod.owner))
            yield pod
    for obj in listed:
        name = f"{obj.get('kind')}/{key_of(obj).name}"
        if obj.get("kind") in _TEMPLATED and (key_of(obj).namespace, name) not in owned:
            if obj["kind"] == "ReplicaSet" and (obj["metadata"].get("ownerReferences")):
                continue
            yield _would_be(obj, name)


def _would_be(obj: Object, owner: str) -> Pod:
    template = (obj.get("spec") or {}).get("template") or {}
    metadata = {
        **(template.get("metadata") or {}),
        **dict(zip(("namespace", "name"), key_of(obj), strict=True)),
    }
    return _pod(
        {"kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}},
        owner,
        exists=False,
    )


def would_be_pod(namespace: str, name: str, labels: Mapping[str, str]) -> Pod:
    """Return a pod that is nowhere, to ask about its labels."""
    metadata = {"namespace": namespace, "name": name, "labels": dict(labels)}
    return _pod({"kind": "Pod", "metadata": metadata}, f"Pod/{name}", exists=False)


def _pod(obj: Object, owner: str, *, exists: bool = True) -> Pod:
    spec = obj.get("spec") or {}
    ports = {
        (int(Protocol[raw.get("protocol") or "TCP"]), int(raw["containerPort"]))
        for container in spec.get("containers") or ()
        for raw in container.get("ports") or ()
    }
    return Pod(Workload.from_object(obj), owner, tuple(sorted(ports)), exists)


def _owners(objects: Iterable[Object]) -> dict[tuple[str, str, str], str]:
    """Return who owns whom, by kind, namespace and name."""
    return {
        (str(obj.get("kind")), *key_of(obj)): owner for obj in objects if (owner := _reference(obj))
    }


def _owner(obj: Object, owners: Mapping[tuple[str, str, str], str]) -> str:
    namespace, name = key_of(obj)
    direct = _reference(obj)
    if not direct:
        return f"Pod/{name}"
    kind, _, owner = direct.partition("/")
    above = owners.get((kind, namespace, owner))
    if above:
        return above
    if kind == "ReplicaSet" and _HASH.search(owner):
        return f"Deployment/{_HASH.sub('', owner)}"
    return direct


def _reference(obj: Object) -> str:
    references: Any = (obj.get("metadata") or {}).get("ownerReferences") or ()
    for reference in references:
        if reference.get("controller", True):
            return f"{reference.get('kind')}/{reference.get('name')}"
    return ""
