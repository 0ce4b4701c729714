"""What a pod's status says, and pods made from templates.

    Pod  ->  ready, available, active      template, owner  ->  Pod

Standards   Kubernetes v1.PodStatus
"""

import copy
import hashlib
import json
from typing import Any

from cairn.drive.rfc3339 import age_s
from cairn.lab.controllers.world import Raw, is_deleting, owner_reference

HASH_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"


def is_active(pod: Raw) -> bool:
    """Return whether the pod runs or will: not ended and not being deleted."""
    return not is_deleting(pod) and phase(pod) not in ("Succeeded", "Failed")


def phase(pod: Raw) -> str:
    """Return the pod's phase."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_ready(pod: Raw) -> bool:
    """Return whether its Ready condition holds."""
    return _ready_condition(pod).get("status") == "True"


def available_in_s(pod: Raw, min_ready_s: int) -> float:
    """Return after how many seconds a pod counts as available: 0 for now, infinite if not ready."""
    condition = _ready_condition(pod)
    if condition.get("status") != "True" or is_deleting(pod):
        return float("inf")
    if min_ready_s <= 0:
        return 0.0
    return max(0.0, min_ready_s - age_s(condition.get("lastTransitionTime") or ""))


def node_of(pod: Raw) -> str:
    """Return the node it is bound to, or ""."""
    return str(pod["spec"].get("nodeName") or "")


def template_hash(template: Raw) -> str:
    """Return a short word that changes with the template, made of harmless characters."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":")).encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:6], "big")
    word = ""
    for _ in range(9):
        number, rest = divmod(number, len(HASH_CHARACTERS))
        word += HASH_CHARACTERS[rest]
    return word


def pod_from(template: Raw, owner: Raw, labels: dict[str, str], spec: dict[str, Any]) -> Raw:
    """Return the pod of a template, with more labels and spec fields laid over it."""
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{owner['metadata']['name'][:57]}-",
            "namespace": owner["metadata"]["namespace"],
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": dict(metadata.get("annotations") or {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {**copy.deepcopy(template.get("spec") or {}), **spec},
    }


def _ready_condition(pod: Raw) -> Raw:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            return dict(condition)
    return {}
