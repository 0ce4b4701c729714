"""What every Kubernetes object carries: its names, labels and marks.

    object["metadata"]  ->  Metadata; object  ->  Key

Standards   Kubernetes API conventions, "Metadata"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from types import MappingProxyType
from typing import Any, NamedTuple

Object = Mapping[str, Any]
"""A decoded JSON object as the API server sent it."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Key(NamedTuple):
    """Namespace and name of an object within its kind; the namespace is "" where there is none."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part of `metadata` that Cairn reads."""

    namespace: str
    """Empty for objects of the cluster."""
    name: str
    """Unique within kind and namespace."""
    uid: str
    """Unique in time too."""
    labels: Mapping[str, str]
    """As set by users and controllers."""
    annotations: Mapping[str, str]
    """Likewise."""
    generation: int
    """Counts changes of the spec; 0 where the kind has none."""
    created: str
    """RFC 3339 time of creation, "" while unknown."""
    deleting: bool
    """Whether a deletion time is set."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return Key(self.namespace, self.name)


def key_of(obj: Object) -> Key:
    """Return the key of a raw object."""
    metadata = obj.get("metadata") or {}
    return Key(intern(metadata.get("namespace") or ""), metadata.get("name") or "")


def metadata_of(obj: Object) -> Metadata:
    """Return the metadata of a raw object; absent fields are empty."""
    raw = obj.get("metadata") or {}
    return Metadata(
        namespace=intern(raw.get("namespace") or ""),
        name=raw.get("name") or "",
        uid=raw.get("uid") or "",
        labels=raw.get("labels") or _NOTHING,
        annotations=raw.get("annotations") or _NOTHING,
        generation=raw.get("generation") or 0,
        created=raw.get("creationTimestamp") or "",
        deleting=bool(raw.get("deletionTimestamp")),
    )
