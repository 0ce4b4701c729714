"""Kinds whose creation means more than storing them: namespaces and definitions.

    object (admitted)  ->  the same object, completed in place

Standards   KEP-95 (CustomResourceDefinition conditions)
"""

from collections.abc import Mapping
from typing import Any

from cairn.apiserver.kind import Json


def new_namespace(obj: Json) -> None:
    """Make a namespace active, and hold it until its content is gone."""
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj["status"] = {"phase": "Active"}
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    metadata["labels"] = labels | {"kubernetes.io/metadata.name": metadata["name"]}


def define_crd(obj: Json, old: Mapping[str, Any] | None, now: str) -> None:
    """Say in the definition's status that its kind is served: it is, as soon as this is stored."""
    spec, before = obj["spec"], (old or {}).get("status") or {}
    stored = next((v["name"] for v in spec["versions"] if v.get("storage")), None)
    versions = list(before.get("storedVersions") or ())
    if stored and stored not in versions:
        versions.append(stored)
    since = {c["type"]: c.get("lastTransitionTime") for c in before.get("conditions") or ()}
    obj["status"] = {
        "acceptedNames": spec["names"],
        "storedVersions": versions,
        "conditions": [
            {
                "type": word,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": since.get(word) or now,
            }
            for word, reason, message in (
                ("NamesAccepted", "NoConflicts", "no conflicts found"),
                ("Established", "InitialNamesAccepted", "the kind is served"),
            )
        ],
    }
