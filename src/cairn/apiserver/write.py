"""Create, update and patch: from what a client sent to a new state of an object.

    Target, object or patch, Transaction  ->  Written(entry, warnings)

Invariants  What the server owns (uid, times, revision, generation) no client can set.
            A write that changes nothing is no change: same revision, no event.
            With a status subresource, spec and status are written apart.
Standards   Kubernetes API conventions: "Metadata", "Spec and Status", "Concurrency Control"
Not here    Deleting (delete), the schema (schema), merging (patch, apply).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cairn.apiserver.allocation import Allocations, ServiceContext
from cairn.apiserver.apply import ApplyConflict, server_side_apply
from cairn.apiserver.entry import Entry
from cairn.apiserver.environment import Environment, timestamp
from cairn.apiserver.kind import CompletionError, FieldError, Json, Kind, Reason
from cairn.apiserver.patch import PatchError, apply_patch
from cairn.apiserver.registry import CRDS, resource_of
from cairn.apiserver.schema import admit
from cairn.apiserver.special import define_crd, new_namespace
from cairn.apiserver.status import (
    Refused,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
)
from cairn.apiserver.store import Transaction
from cairn.kube.metadata import Key

APPLY = "application/apply-patch+yaml"
_KEPT = ("name", "namespace", "uid", "creationTimestamp", "generation", "selfLink")
_REASONS = {
    400: "BadRequest",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
}
_MARKS = ("deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about, and how it is to be done."""

    kind: Kind
    """Kind in the version of the path."""
    key: Key
    """Namespace and name; the name is empty at creation."""
    subresource: str = ""
    """"status", "scale", …"""
    field_validation: str = "Warn"
    """Strict, Warn or Ignore."""
    manager: str = "unknown"
    """Who writes, for server-side apply."""
    force: bool = False
    """Whether server-side apply takes fields over from other managers."""

    @property
    def resource(self) -> str:
        """Table of the store."""
        return resource_of(self.kind)


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write."""

    entry: Entry
    """The object's new state, or its last one."""
    warnings: tuple[str, ...] = ()
    """What the client should be told."""
    created: bool = False
    """Whether it is new."""
    removed: bool = False
    """Whether the object is gone."""


class Writer:
    """Writes objects within transactions."""

    def __init__(self, environment: Environment, allocations: Allocations) -> None:
        self.environment = environment
        self.allocations = allocations

    def create(self, txn: Transaction, target: Target, obj: Json) -> Written:
        """Store a new object; raises Refused."""
        kind = target.kind
        obj = checked_type(kind, obj)
        metadata = self._new_metadata(txn, target, obj)
        key = Key(metadata.get("namespace") or "", metadata["name"])
        obj = obj | {"metadata": metadata}
        if kind.namespaced:
            self._require_namespace(txn, target, key)
        if "status" in kind.subresources and not _sets_own_status(kind):
            obj.pop("status", None)
        obj, warnings = self._admit(target, obj, None, key)
        if txn.get(target.resource, key) is not None:
            raise already_exists(kind, key.name)
        if target.resource == CRDS:
            define_crd(obj, None, timestamp(self.environment.now()))
        elif target.resource == "namespaces":
            new_namespace(obj)
        return Written(txn.put(target.resource, obj), tuple(warnings), created=True)

    def update(self, txn: Transaction, target: Target, obj: Json) -> Written:
        """Replace an object (or its status); raises Refused."""
        entry = txn.get(target.resource, target.key)
        if entry is None:
            raise not_found(target.kind, target.key.name)
        obj = checked_type(target.kind, obj)
        metadata = obj.get("metadata") or {}
        for name in ("name", "namespace"):
            wanted = getattr(target.key, name)
            if metadata.setdefault(name, wanted) != wanted and (name == "name" or wanted):
                raise bad_request(
                    f"the {name} of the object ({metadata[name]}) does not match the {name} "
                    f"on the URL ({wanted})"
                )
        self._check_preconditions(target, entry, metadata)
        return self._replace(txn, target, entry, obj | {"metadata": metadata})

    def patch(self, txn: Transaction, target: Target, patch: Any, content_type: str) -> Written:
        """Change an object as a patch says, or apply one; raises Refused."""
        entry = txn.get(target.resource, target.key)
        try:
            if content_type == APPLY:
                return self._apply(txn, target, entry, patch)
            if entry is None:
                raise not_found(target.kind, target.key.name)
            current = _under_version(entry.decode(), target.kind)
            return self.update(txn, target, apply_patch(target.kind, current, patch, content_type))
        except PatchError as error:
            raise Refused(error.code, _REASONS[error.code], str(error)) from error
        except ApplyConflict as error:
            causes = [{"reason": "FieldManagerConflict", **cause} for cause in error.causes]
            raise Refused(409, "Conflict", str(error), details={"causes": causes}) from error

    def _apply(
        self, txn: Transaction, target: Target, entry: Entry | None, applied: Any
    ) -> Written:
        if not isinstance(applied, dict):
            raise bad_request("the applied configuration is not an object")
        applied = checked_type(target.kind, applied)
        metadata = applied.setdefault("metadata", {})
        metadata.setdefault("name", target.key.name)
        if target.key.namespace:
            metadata.setdefault("namespace", target.key.namespace)
        current = None if entry is None else _under_version(entry.decode(), target.kind)
        if entry is not None:
            self._check_preconditions(target, entry, metadata)
        obj = server_side_apply(target.kind, current, applied, target.manager, target.force)
        for mark in obj["metadata"].get("managedFields") or ():
            mark.setdefault("time", timestamp(self.environment.now()))
        if entry is None:
            return self.create(txn, target, obj)
        return self._replace(txn, target, entry, obj)

    def _replace(self, txn: Transaction, target: Target, entry: Entry, obj: Json) -> Written:
        kind, old = target.kind, _under_version(entry.decode(), target.kind)
        obj["metadata"] = self._kept_metadata(target, old["metadata"], obj["metadata"])
        warnings: list[str] = []
        if target.subresource == "status":
            obj = _with_status(old, obj)
            obj, errors, warnings = admit(kind, obj, target.field_validation)
            if errors:
                raise invalid(kind, target.key.name, errors)
        elif target.subresource != "finalize":
            if target.resource == "namespaces":
                # Only the finalize subresource may let a namespace go.
                obj["spec"] = old.get("spec") or {}
            if "status" in kind.subresources:
                obj = _with_status(obj, old)
            obj, warnings = self._admit(target, obj, old, entry.key)
            if target.resource == CRDS:
                define_crd(obj, old, timestamp(self.environment.now()))
        if _same(old, obj):
            return Written(entry, tuple(warnings))
        if kind.has_generation and _intent(kind, old) != _intent(kind, obj):
            obj["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1
        if is_finished(obj):
            return Written(txn.remove(target.resource, obj), tuple(warnings), removed=True)
        return Written(txn.put(target.resource, obj), tuple(warnings))

    def _admit(
        self, target: Target, obj: Json, old: Json | None, key: Key
    ) -> tuple[Json, list[str]]:
        """Return the object completed and checked, and what to warn of; raises Refused."""
        kind = target.kind
        obj, errors, warnings = admit(kind, obj, target.field_validation)
        if errors:
            raise invalid(kind, key.name, errors)
        if kind.default is not None:
            try:
                kind.default(obj, ServiceContext(old, self.allocations, key))
            except CompletionError as error:
                raise invalid(kind, key.name, error.errors) from error
        if kind.validate is not None and (errors := kind.validate(obj, old)):
            raise invalid(kind, key.name, errors)
        if kind.warn is not None:
            warnings = warnings + kind.warn(obj)
        return obj, warnings

    def _new_metadata(self, txn: Transaction, target: Target, obj: Json) -> Json:
        metadata = dict(obj.get("metadata") or {})
        if target.kind.namespaced:
            namespace = metadata.get("namespace") or target.key.namespace
            if namespace != target.key.namespace:
                raise bad_request(
                    f"the namespace of the provided object ({namespace}) does not match the "
                    f"namespace sent on the request ({target.key.namespace})"
                )
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generated(txn, target, metadata)
        if target.key.name:
            metadata.setdefault("name", target.key.name)
        metadata.setdefault("name", "")
        for mark in (*_MARKS, "selfLink", "resourceVersion", "generation"):
            metadata.pop(mark, None)
        metadata["uid"] = self.environment.new_uid()
        metadata["creationTimestamp"] = timestamp(self.environment.now())
        if target.kind.has_generation:
            metadata["generation"] = 1
        return metadata

    def _generated(self, txn: Transaction, target: Target, metadata: Mapping[str, Any]) -> str:
        prefix, namespace = metadata["generateName"], metadata.get("namespace") or ""
        for _ in range(8):
            # A name has at most 63 characters where it becomes a host's name.
            name = str(prefix)[:58] + self.environment.suffix()
            if txn.get(target.resource, Key(namespace, name)) is None:
                return name
        raise already_exists(target.kind, name)

    def _require_namespace(self, txn: Transaction, target: Target, key: Key) -> None:
        namespace = txn.get("namespaces", Key("", key.namespace))
        if namespace is None:
            raise Refused(
                404,
                "NotFound",
                f'namespaces "{key.namespace}" not found',
                details={"name": key.namespace, "kind": "namespaces"},
            )
        if namespace.deleting:
            why = f"unable to create new content in namespace {key.namespace}"
            why += " because it is being terminated"
            raise forbidden(target.kind, key.name, why, cause="NamespaceTerminating")

    def _check_preconditions(
        self, target: Target, entry: Entry, metadata: Mapping[str, Any]
    ) -> None:
        uid, revision = metadata.get("uid"), metadata.get("resourceVersion")
        if uid and uid != entry.uid:
            why = (
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {entry.uid}"
            )
            raise conflict(target.kind, target.key.name, why)
        if revision and str(revision) != "0" and str(revision) != str(entry.revision):
            raise conflict(target.kind, target.key.name)

    def _kept_metadata(self, target: Target, old: Json, new: Json) -> Json:
        """Return the new metadata with everything that only the server may set."""
        metadata = dict(new)
        for name in (*_KEPT, *_MARKS, "resourceVersion"):
            if name in old:
                metadata[name] = old[name]
            else:
                metadata.pop(name, None)
        if "managedFields" not in new and "managedFields" in old:
            metadata["managedFields"] = old["managedFields"]
        added = _finalizers(new) - _finalizers(old)
        if added and old.get("deletionTimestamp"):
            text = "Forbidden: no new finalizers can be added if the object is being deleted, "
            text += f"found new finalizers {sorted(added)}"
            error = FieldError("metadata.finalizers", Reason.FORBIDDEN, text)
            raise invalid(target.kind, target.key.name, [error])
        return metadata


def checked_type(kind: Kind, obj: Any) -> Json:
    """Return the object with its type filled in; raises Refused if it is of another type."""
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata") or {}, dict):
        raise bad_request(f"the body is not a {kind.kind}: expected a JSON object with metadata")
    found = (obj.get("apiVersion") or kind.api_version, obj.get("kind") or kind.kind)
    if found != (kind.api_version, kind.kind):
        raise bad_request(
            f"{kind.kind} in version {kind.version!r} cannot be handled: the body says "
            f"{found[1]} of {found[0]}, the path {kind.kind} of {kind.api_version}"
        )
    metadata = dict(obj.get("metadata") or {})
    return obj | {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def is_finished(obj: Mapping[str, Any]) -> bool:
    """Return whether nothing holds an object back that is being deleted."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if obj["kind"] == "Namespace" and (obj.get("spec") or {}).get("finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")


def _finalizers(metadata: Mapping[str, Any]) -> set[str]:
    """Return the finalizers of metadata that may not be admitted yet."""
    found = metadata.get("finalizers")
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


def _under_version(obj: Json, kind: Kind) -> Json:
    return obj | {"apiVersion": kind.api_version}


def _with_status(obj: Json, other: Json) -> Json:
    """Return `obj` with the status of `other`."""
    rest = {name: value for name, value in obj.items() if name != "status"}
    return rest | ({"status": other["status"]} if "status" in other else {})


def _sets_own_status(kind: Kind) -> bool:
    # A node's kubelet brings its status along; the others' is set by this server.
    return kind.plural in ("customresourcedefinitions", "namespaces", "nodes")


def _same(old: Json, new: Json) -> bool:
    def bare(obj: Json) -> Json:
        hidden = ("managedFields", "resourceVersion")
        return obj | {"metadata": {k: v for k, v in obj["metadata"].items() if k not in hidden}}

    if bare(old) != bare(new):
        return False
    managed = [
        [{k: v for k, v in mark.items() if k != "time"} for mark in marks or ()]
        for marks in (old["metadata"].get("managedFields"), new["metadata"].get("managedFields"))
    ]
    return managed[0] == managed[1]


def _intent(kind: Kind, obj: Json) -> Json:
    """Return the part of an object whose changes its generation counts."""
    apart = {"metadata", "apiVersion"}
    if "status" in kind.subresources:
        apart.add("status")
    return {name: value for name, value in obj.items() if name not in apart}
