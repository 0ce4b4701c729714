"""An object as the store holds it: its JSON text, and the few facts that lists need.

    dict  ->  Entry(data, labels, fields, owners, …);  Entry  ->  dict

Shapes      data: compact JSON that begins with apiVersion and kind, so that another version of the
            same kind is a change of its first bytes.
Invariants  An entry never changes; equal revisions mean equal bytes.
Cost        One object of 1.5 KB costs about 2.3 KB of memory, against 15 KB decoded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

import msgspec

from cairn.apiserver.kind import Json
from cairn.apiserver.selection import fields_of
from cairn.kube.metadata import Key

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one object."""

    key: Key
    """Namespace and name."""
    revision: int
    """Its metadata.resourceVersion."""
    uid: str
    """Its metadata.uid."""
    labels: Mapping[str, str]
    """Its labels, with shared strings."""
    fields: tuple[str, ...]
    """Values of the selectable fields."""
    owners: tuple[str, ...]
    """The uids of its ownerReferences."""
    finalizers: tuple[str, ...]
    """Its finalizers."""
    deleting: bool
    """Whether a deletion time is set."""
    data: bytes
    """The whole object."""

    def decode(self) -> Json:
        """Return the object, for the caller to change."""
        obj: Json = _decode(self.data)
        return obj

    def data_as(self, api_version: str) -> bytes:
        """Return the JSON text under another version of the same group."""
        stored, begin = _prefix_of(self.data)
        wanted = _encode(api_version)
        if stored == wanted:
            return self.data
        return b'{"apiVersion":' + wanted + self.data[begin:]


def entry_of(resource: str, obj: Mapping[str, Any], revision: int) -> Entry:
    """Return the entry of an object, stamped with its revision."""
    metadata = dict(obj["metadata"])
    metadata["resourceVersion"] = str(revision)
    whole = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    whole |= {name: value for name, value in obj.items() if name not in whole}
    labels = metadata.get("labels") or {}
    return Entry(
        key=Key(intern(metadata.get("namespace") or ""), metadata["name"]),
        revision=revision,
        uid=metadata.get("uid") or "",
        labels={intern(str(name)): intern(str(value)) for name, value in labels.items()},
        fields=fields_of(resource, whole),
        owners=tuple(ref.get("uid", "") for ref in metadata.get("ownerReferences") or ()),
        finalizers=tuple(metadata.get("finalizers") or ()),
        deleting=bool(metadata.get("deletionTimestamp")),
        data=_encode(whole),
    )


def load_entry(resource: str, data: bytes) -> Entry:
    """Return the entry of a stored text; raises ValueError if it is not an object's."""
    try:
        obj = _decode(data)
        return entry_of(resource, obj, int(obj["metadata"]["resourceVersion"]))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an object: {error}") from error


def _prefix_of(data: bytes) -> tuple[bytes, int]:
    begin = len(b'{"apiVersion":')
    end = data.index(b",", begin)
    return data[begin:end], end
