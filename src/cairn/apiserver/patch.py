"""The three patches of the API: JSON patch, JSON merge patch, strategic merge patch.

    Kind, object, patch, content type  ->  patched object

Invariants  The object and the patch given are never changed; a patch applies whole or not at all.
Standards   RFC 6902 (JSON patch), RFC 6901 (JSON pointer), RFC 7396 (JSON merge patch)
Not here    Strategic merge (strategic_merge), server-side apply (apply).
"""

from collections.abc import Mapping
from typing import Any

from cairn.apiserver.duplicate import duplicate
from cairn.apiserver.kind import Json, Kind
from cairn.apiserver.patch_error import PatchError
from cairn.apiserver.schema import full_schema
from cairn.apiserver.strategic_merge import strategic_merge

__all__ = ["PatchError", "apply_patch", "json_patch", "merge_patch"]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
OPERATIONS_LIMIT = 10_000


def apply_patch(kind: Kind, current: Json, patch: Any, content_type: str) -> Json:
    """Return `current` as the patch changes it; raises PatchError."""
    content_type = content_type.partition(";")[0].strip()
    try:
        result = _patched(kind, current, patch, content_type)
    except RecursionError as error:
        raise PatchError("the patch is nested too deeply") from error
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise PatchError("the patch leaves no object with metadata", code=422)
    return result


def _patched(kind: Kind, current: Json, patch: Any, content_type: str) -> Any:
    if content_type == JSON_PATCH:
        return json_patch(current, patch)
    if content_type not in (MERGE_PATCH, STRATEGIC_MERGE_PATCH):
        known = f"{JSON_PATCH}, {MERGE_PATCH} and {STRATEGIC_MERGE_PATCH}"
        raise PatchError(f"content type {content_type!r} is no patch: send {known}", code=415)
    if not isinstance(patch, dict):
        raise PatchError(f"a patch of type {content_type} must be an object")
    if content_type == MERGE_PATCH:
        return merge_patch(current, patch)
    if kind.custom:
        text = f"{kind.kind} is a custom resource: strategic merge works for builtin kinds only"
        raise PatchError(text + f", send {MERGE_PATCH}", code=415)
    return strategic_merge(current, patch, full_schema(kind))


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` merged with `patch` (RFC 7396 s2)."""
    if not isinstance(patch, Mapping):
        return duplicate(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(document: Any, operations: Any) -> Any:
    """Return `document` after the operations in their order (RFC 6902 s4)."""
    if not isinstance(operations, list):
        raise PatchError("a JSON patch must be a list of operations")
    if len(operations) > OPERATIONS_LIMIT:
        raise PatchError(f"{len(operations)} operations, limit {OPERATIONS_LIMIT}", code=413)
    result = duplicate(document)
    for index, operation in enumerate(operations):
        try:
            result = _operate(result, operation)
        except PatchError as error:
            raise PatchError(f"operation {index}: {error}", code=error.code) from error
    return result


def _operate(document: Any, operation: Any) -> Any:
    if not isinstance(operation, Mapping):
        raise PatchError("must be an object")
    path = _pointer(operation, "path")
    match operation.get("op"):
        case "add":
            return _add(document, path, duplicate(_value(operation)))
        case "remove":
            return _remove(document, path)[0]
        case "replace":
            value = duplicate(_value(operation))
            if not path:
                return value
            _find(document, path)
            return _add(_remove(document, path)[0], path, value)
        case "move":
            source = _pointer(operation, "from")
            if path[: len(source)] == source and path != source:
                raise PatchError("cannot move a value into itself", code=422)
            document, value = _remove(document, source)
            return _add(document, path, value)
        case "copy":
            value = _find(document, _pointer(operation, "from"))
            return _add(document, path, duplicate(value))
        case "test":
            if not _equal(_find(document, path), _value(operation)):
                raise PatchError(f"test of {operation['path']!r} failed", code=422)
            return document
    raise PatchError(f"op {operation.get('op')!r} is unknown")


def _equal(one: Any, other: Any) -> bool:
    # Python takes True for 1; JSON does not (RFC 6902 s4.6).
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _value(operation: Mapping[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError("value is missing")
    return operation["value"]


def _pointer(operation: Mapping[str, Any], field: str) -> list[str]:
    """Return the parts of a JSON pointer (RFC 6901 s3)."""
    text = operation.get(field)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(f"{field} {text!r} is no JSON pointer: it must be empty or begin with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _find(document: Any, path: list[str]) -> Any:
    for part in path:
        document = _step(document, part, path)
    return document


def _step(document: Any, part: str, path: list[str]) -> Any:
    if isinstance(document, dict) and part in document:
        return document[part]
    if isinstance(document, list):
        return document[_index(part, len(document) - 1, path)]
    raise PatchError(f"there is nothing at /{'/'.join(path)}", code=422)


def _index(part: str, highest: int, path: list[str]) -> int:
    plain = part.isascii() and part.isdigit() and (part == "0" or not part.startswith("0"))
    if not plain or int(part) > highest:
        raise PatchError(f"{part!r} is no index of the list at /{'/'.join(path[:-1])}", code=422)
    return int(part)


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _find(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        at = len(parent) if last == "-" else _index(last, len(parent), path)
        parent.insert(at, value)
    else:
        raise PatchError(f"/{'/'.join(path[:-1])} is neither an object nor a list", code=422)
    return document


def _remove(document: Any, path: list[str]) -> tuple[Any, Any]:
    if not path:
        return None, document
    value = _find(document, path)
    parent, last = _find(document, path[:-1]), path[-1]
    del parent[int(last) if isinstance(parent, list) else last]
    return document, value
