"""Server-side apply: an object is what its appliers have said of it, field by field.

    Kind, current object, applied configuration, manager  ->  object with managedFields

Shapes      A path is a tuple of steps as FieldsV1 spells them: "f:name", 'k:{"port":80}', 'v:"x"';
            a list item itself ends in ".".
Invariants  A field that the manager applied before and leaves out now goes, unless another
            applied it too.
            Only appliers are tracked: a plain update neither owns fields nor conflicts.
Standards   KEP-555 (server-side apply)
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cairn.apiserver.duplicate import duplicate
from cairn.apiserver.kind import Json, Kind
from cairn.apiserver.notation import Schema
from cairn.apiserver.patch_error import PatchError
from cairn.apiserver.schema import full_schema

Path = tuple[str, ...]
_UNOWNED = {
    ("f:apiVersion",), ("f:kind",), ("f:metadata",), ("f:metadata", "f:name"),
    ("f:metadata", "f:namespace"),
}  # fmt: skip
_SERVER_FIELDS = (
    "managedFields", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink",
    "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip


class ApplyConflict(Exception):
    """Fields that another applier has set to another value."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        """Path of each field, as in `.spec.replicas`, and its manager."""
        self.causes = [
            {"field": path, "message": f'conflict with "{manager}"'}
            for path, manager in self.fields.items()
        ]
        """For `details.causes` of the answer."""
        each = [f'conflict with "{owner}": {path}' for path, owner in self.fields.items()]
        noun = "conflict" if len(each) == 1 else "conflicts"
        super().__init__(f"Apply failed with {len(each)} {noun}: {'; '.join(each)}")


def server_side_apply(
    kind: Kind, current: Json | None, applied: Json, manager: str, force: bool
) -> Json:
    """Return the object after `manager` has applied it; raises ApplyConflict, PatchError."""
    try:
        return _applied(kind, current, applied, manager, force=force)
    except RecursionError as error:
        raise PatchError("the applied configuration is nested too deeply") from error


def _applied(kind: Kind, current: Json | None, applied: Json, manager: str, *, force: bool) -> Json:
    schema = full_schema(kind)
    if (applied.get("metadata") or {}).get("managedFields"):
        raise PatchError("metadata.managedFields must be nil")
    applied = duplicate(applied)
    for name in _SERVER_FIELDS:
        applied.get("metadata", {}).pop(name, None)
    result: Json = duplicate(current) if current is not None else {}
    entries = list(result.get("metadata", {}).pop("managedFields", None) or ())
    mine = set(_paths(applied, schema, ())) - _UNOWNED
    theirs = {
        _owner(entry): set(_read_fields(entry.get("fieldsV1") or {}, ()))
        for entry in entries
        if entry.get("operation") == "Apply" and entry.get("manager") != manager
    }
    _settle(theirs, _changed(mine, result, applied), force=force)
    before = _previous(entries, manager)
    kept = mine.union(*theirs.values())
    for path in sorted(before - kept, key=len, reverse=True):
        _remove(result, path, kept)
    result = _merge(result, applied, schema)
    marks = [e for e in entries if e.get("operation") != "Apply"]
    marks += [_mark(kind, owner, paths, entries) for owner, paths in theirs.items() if paths]
    marks.append(_mark(kind, manager, mine, ()))
    result.setdefault("metadata", {})["managedFields"] = marks
    return result


def _owner(entry: Mapping[str, Any]) -> str:
    return str(entry.get("manager") or "")


def _previous(entries: list[Json], manager: str) -> set[Path]:
    found = (e for e in entries if e.get("operation") == "Apply" and _owner(e) == manager)
    return {path for entry in found for path in _read_fields(entry.get("fieldsV1") or {}, ())}


def _mark(kind: Kind, manager: str, paths: set[Path], entries: Any) -> Json:
    earlier: Json = next((e for e in entries if _owner(e) == manager and "time" in e), {})
    return {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": kind.api_version,
        **({"time": earlier["time"]} if earlier else {}),
        "fieldsType": "FieldsV1",
        "fieldsV1": _write_fields(paths),
    }


def _changed(mine: set[Path], current: Json, applied: Json) -> set[Path]:
    """Return the fields to which the configuration gives another value than they have."""
    return {path for path in mine if _find(current, path) != _find(applied, path)}


def _settle(theirs: dict[str, set[Path]], changed: set[Path], *, force: bool) -> None:
    conflicts = {
        _spell(path): owner
        for owner, paths in theirs.items()
        for path in sorted(paths & changed)
        if path[-1] != "."
    }
    if conflicts and not force:
        raise ApplyConflict(conflicts)
    for paths in theirs.values():
        paths -= changed


def _keys(schema: Schema) -> tuple[str, ...]:
    """Return what tells the items of a list apart; () for a list that is one value."""
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    merge = schema.get("x-kubernetes-patch-merge-key")
    return keys or ((merge,) if merge else ())


def _is_set(schema: Schema) -> bool:
    return schema.get("x-kubernetes-list-type") == "set"


def _child(schema: Schema, name: str) -> Schema:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    return properties.get(name) or (extra if isinstance(extra, dict) else {})


def _item_step(item: Any, keys: tuple[str, ...], schema: Schema) -> str:
    """Return the step to a list's item; a key left out counts with its default."""
    fields = (schema.get("items") or {}).get("properties") or {}
    marks = {
        key: item.get(key, fields.get(key, {}).get("default"))
        for key in sorted(keys)
        if isinstance(item, dict)
    }
    if not marks:
        raise PatchError(f"list item {item!r} lacks its keys {', '.join(keys)}")
    known = {key: value for key, value in marks.items() if value is not None}
    return "k:" + json.dumps(known, separators=(",", ":"))


def _paths(value: Any, schema: Schema, path: Path) -> Iterator[Path]:
    """Yield the path of every field that a configuration sets."""
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    if isinstance(value, dict) and value and not atomic:
        for name, item in value.items():
            yield from _paths(item, _child(schema, name), (*path, f"f:{name}"))
    elif isinstance(value, list) and value and _keys(schema):
        for item in value:
            below = (*path, _item_step(item, _keys(schema), schema))
            yield (*below, ".")
            yield from _paths(item, schema.get("items") or {}, below)
    elif isinstance(value, list) and value and _is_set(schema):
        for item in value:
            yield (*path, "v:" + json.dumps(item, separators=(",", ":")))
    else:
        yield path


def _write_fields(paths: set[Path]) -> Json:
    tree: Json = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    return tree


def _read_fields(tree: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for step, below in tree.items():
        if below:
            yield from _read_fields(below, (*path, step))
        else:
            yield (*path, step)


def _fits(item: Any, step: str) -> bool:
    """Return whether a list's item is the one that a step names; absent keys count as a default."""
    if step.startswith("v:"):
        return bool(item == json.loads(step[2:]))
    marks = json.loads(step[2:])
    return isinstance(item, dict) and all(item.get(k, v) == v for k, v in marks.items())


def _find(value: Any, path: Path) -> Any:
    for step in path:
        if step == ".":
            return value is not None
        if step.startswith("f:"):
            value = value.get(step[2:]) if isinstance(value, dict) else None
        else:
            items = value if isinstance(value, list) else []
            value = next((item for item in items if _fits(item, step)), None)
    return value


def _remove(root: Json, path: Path, kept: set[Path]) -> None:
    """Take a field away; an item or object goes whole only if nobody else has a part of it."""
    whole = path[:-1] if path[-1] == "." else path
    if any(other[: len(whole)] == whole for other in kept):
        return
    parent, last = _find(root, whole[:-1]), whole[-1]
    if isinstance(parent, dict):
        parent.pop(last[2:], None)
    elif isinstance(parent, list):
        parent[:] = [item for item in parent if not _fits(item, last)]
    # An object that only held what was applied goes with its last field.
    if not parent and len(whole) > 2 and whole[-2].startswith("f:"):
        _remove(root, whole[:-1], kept)


def _merge(current: Any, applied: Any, schema: Schema) -> Any:
    if isinstance(current, dict) and isinstance(applied, dict):
        if schema.get("x-kubernetes-map-type") == "atomic":
            return applied
        merged = {k: _merge(current.get(k), v, _child(schema, k)) for k, v in applied.items()}
        return {**current, **merged}
    if isinstance(current, list) and isinstance(applied, list):
        if _keys(schema):
            return _merge_items(current, applied, schema)
        if _is_set(schema):
            return [*current, *(item for item in applied if item not in current)]
    return applied


def _merge_items(current: list[Any], applied: list[Any], schema: Schema) -> list[Any]:
    result = list(current)
    for item in applied:
        step = _item_step(item, _keys(schema), schema)
        at = next((i for i, old in enumerate(result) if _fits(old, step)), None)
        if at is None:
            result.append(item)
        else:
            result[at] = _merge(result[at], item, schema.get("items") or {})
    return result


def _spell(path: Path) -> str:
    text = ""
    for step in path:
        if step.startswith("f:"):
            text += f".{step[2:]}"
        elif step != ".":
            marks = json.loads(step[2:]) if step.startswith("k:") else {"": step[2:]}
            text += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in marks.items()) + "]"
    return text
