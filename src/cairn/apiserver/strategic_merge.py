"""Strategic merge patch: a merge patch that knows which lists merge, and by which key.

    object, patch, schema  ->  merged object

Invariants  Neither argument is changed. A field that the schema does not know merges as JSON does.
Standards   Kubernetes "Update API Objects in Place Using kubectl patch"; directives $patch,
            $retainKeys, $deleteFromPrimitiveList/FIELD, $setElementOrder/FIELD
"""

from collections.abc import Callable, Mapping
from typing import Any

from cairn.apiserver.duplicate import duplicate
from cairn.apiserver.kind import Json
from cairn.apiserver.notation import Schema
from cairn.apiserver.patch_error import PatchError

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge(current: Mapping[str, Any], patch: Mapping[str, Any], schema: Schema) -> Json:
    """Return `current` merged with `patch`; raises PatchError."""
    directive = patch.get(_PATCH, "merge")
    if directive == "delete":
        return {}
    if directive == "replace":
        return {k: duplicate(v) for k, v in patch.items() if k != _PATCH}
    if directive != "merge":
        raise PatchError(f"$patch: {directive!r} is unknown: it is merge, replace or delete")
    result = dict(current)
    if _RETAIN in patch:
        kept = set(_list(patch[_RETAIN], _RETAIN))
        result = {name: value for name, value in result.items() if name in kept}
    for name, value in patch.items():
        if name.startswith(_DELETE_FROM):
            _delete_from(result, name.removeprefix(_DELETE_FROM), _list(value, name))
    for name, value in patch.items():
        if not name.startswith("$"):
            _merge_field(result, name, value, schema)
        elif name not in (_PATCH, _RETAIN) and not name.startswith((_DELETE_FROM, _ORDER)):
            raise PatchError(f"directive {name!r} is unknown")
    for name, value in patch.items():
        if name.startswith(_ORDER):
            field = name.removeprefix(_ORDER)
            _reorder(result, current, field, _list(value, name), _child(schema, field))
    return result


def _child(schema: Schema, name: str) -> Schema:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    return properties.get(name) or (extra if isinstance(extra, dict) else {})


def _list(value: Any, directive: str) -> list[Any]:
    if not isinstance(value, list):
        raise PatchError(f"{directive} must be a list")
    return value


def _delete_from(result: Json, field: str, values: list[Any]) -> None:
    items = result.get(field)
    if isinstance(items, list):
        result[field] = [item for item in items if item not in values]


def _merge_field(result: Json, name: str, value: Any, schema: Schema) -> None:
    child, before = _child(schema, name), result.get(name)
    if value is None:
        result.pop(name, None)
    elif isinstance(value, dict):
        result[name] = strategic_merge(before if isinstance(before, dict) else {}, value, child)
    elif isinstance(value, list):
        result[name] = _merge_list(before if isinstance(before, list) else [], value, child)
    else:
        result[name] = value


def _merges(schema: Schema) -> bool:
    strategy = schema.get("x-kubernetes-patch-strategy") or ""
    return "merge" in strategy.split(",")


def _merge_list(current: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    if not _merges(schema):
        return [_without_directives(item) for item in patch]
    key = schema.get("x-kubernetes-patch-merge-key")
    if not key:
        return [*current, *(item for item in patch if item not in current)]
    if {_PATCH: "replace"} in patch:
        return [_without_directives(item) for item in patch if item != {_PATCH: "replace"}]
    result = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise PatchError(f"map: {item} does not contain declared merge key: {key}")
        at = _position(result, key, item[key])
        if item.get(_PATCH) == "delete":
            result = [old for i, old in enumerate(result) if i != at]
            continue
        before = result[at] if at is not None else {}
        merged = strategic_merge(before, item, schema.get("items") or {})
        if at is None:
            result.append(merged)
        else:
            result[at] = merged
    return result


def _position(items: list[Any], key: str, value: Any) -> int | None:
    found = (i for i, x in enumerate(items) if isinstance(x, dict) and x.get(key) == value)
    return next(found, None)


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not k.startswith("$") and v is not None}
        return {k: _without_directives(v) for k, v in kept.items()}
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value


def _reorder(
    result: Json, current: Mapping[str, Any], field: str, order: list[Any], schema: Schema
) -> None:
    """Put the items of a list in the client's order; others keep their place among themselves."""
    items = result.get(field)
    if not isinstance(items, list):
        return
    key = schema.get("x-kubernetes-patch-merge-key")

    def mark(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted, before = [mark(item) for item in order], current.get(field)
    had = [mark(item) for item in before] if isinstance(before, list) else []
    named = sorted(
        (item for item in items if mark(item) in wanted), key=lambda x: wanted.index(mark(x))
    )
    others = [item for item in items if mark(item) not in wanted]
    result[field] = _interleave(named, others, had, mark)


def _interleave(
    named: list[Any], others: list[Any], had: list[Any], mark: Callable[[Any], Any]
) -> list[Any]:
    """Merge two lists; the second one's items go before what they stood before so far."""
    result: list[Any] = []
    named, others = list(named), list(others)
    while named and others:
        first, other = mark(named[0]), mark(others[0])
        earlier = first not in had or (other in had and had.index(other) < had.index(first))
        result.append(others.pop(0) if earlier and first in had else named.pop(0))
    return result + named + others
