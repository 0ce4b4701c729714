"""Hold an object against its schema: prune, default and check in one walk.

    Kind, object, "Strict" | "Warn" | "Ignore"  ->  object, errors, warnings

Invariants  The object given is never changed. admit(admit(x)) is admit(x), without warnings.
            A null where the schema does not allow one means "not set": it is taken away.
Cost        One pass over the object.
Standards   Kubernetes structural schemas (KEP-1979, "CRD validation"), KEP-2885 (field validation)
Not here    What crosses fields (builtin_*), labels and names (naming).
"""

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cairn.apiserver.builtin_meta import OBJECT_META, TYPE_META
from cairn.apiserver.duplicate import duplicate
from cairn.apiserver.kind import FieldError, Json, Kind, Reason
from cairn.apiserver.naming import metadata_errors
from cairn.apiserver.notation import Schema

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"


def admit(kind: Kind, obj: Json, field_validation: str) -> tuple[Json, list[FieldError], list[str]]:
    """Return the object pruned and defaulted, what is wrong with it, and what to warn of."""
    walk = _Walk()
    try:
        result = walk.visit(duplicate(obj), full_schema(kind), "")
    except RecursionError:
        return obj, [FieldError("", Reason.INVALID, "Invalid value: nested too deeply")], []
    errors = walk.errors + metadata_errors(kind, result)
    unknown = [f'unknown field "{path}"' for path in walk.unknown]
    if field_validation == "Strict":
        found = zip(walk.unknown, unknown, strict=True)
        return result, [FieldError(p, Reason.UNKNOWN, text) for p, text in found] + errors, []
    return result, errors, unknown if field_validation == "Warn" else []


@functools.lru_cache(maxsize=512)
def full_schema(kind: Kind) -> Schema:
    """Return the kind's schema with apiVersion, kind and metadata as every object has them."""
    schema: Schema = {"type": "object", **(kind.schema or {_PRESERVE: True})}
    properties = {**schema.get("properties", {}), **TYPE_META, "metadata": OBJECT_META}
    return schema | {"properties": properties}


@dataclass(slots=True)
class _Walk:
    """One walk over one object; gathers what it finds."""

    errors: list[FieldError] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def wrong(self, path: str, reason: Reason, message: str) -> None:
        self.errors.append(FieldError(path, reason, message))

    def visit(self, value: Any, schema: Schema, path: str) -> Any:
        """Return `value` pruned and defaulted."""
        if value is None:
            return None
        if schema.get(_INT_OR_STRING):
            self._int_or_string(value, schema, path)
            return value
        wanted = schema.get("type")
        if wanted and not _is(wanted, value):
            found = f'Invalid value: "{_type_name(value)}": '
            text = f"{found}{path} in body must be of type {wanted}: {_quote(value)}"
            self.wrong(path, Reason.TYPE_INVALID, text)
            return value
        if isinstance(value, dict):
            value = self._object(value, schema, path)
        elif isinstance(value, list):
            value = self._list(value, schema, path)
        self._constraints(value, schema, path)
        return value

    def _object(self, value: Json, schema: Schema, path: str) -> Json:
        if schema.get(_EMBEDDED):
            schema = schema | {
                "properties": {**schema.get("properties", {}), **TYPE_META, "metadata": OBJECT_META}
            }
        properties: Mapping[str, Schema] = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        result: Json = {}
        for name, item in value.items():
            below = f"{path}.{name}" if path else name
            child = properties.get(name)
            if child is None and isinstance(additional, dict):
                below, child = f"{path}[{name}]", additional
            if child is not None:
                if item is not None or child.get("nullable"):
                    result[name] = self.visit(item, child, below)
            elif additional is True or schema.get(_PRESERVE):
                result[name] = item
            else:
                self.unknown.append(below)
        for name, child in properties.items():
            if "default" in child and name not in result:
                default = duplicate(child["default"])
                result[name] = self.visit(default, child, f"{path}.{name}" if path else name)
        for name in schema.get("required") or ():
            if name not in result:
                self.wrong(f"{path}.{name}" if path else name, Reason.REQUIRED, "Required value")
        return result

    def _list(self, value: list[Any], schema: Schema, path: str) -> list[Any]:
        items = schema.get("items")
        if items is not None:
            value = [self.visit(item, items, f"{path}[{i}]") for i, item in enumerate(value)]
        keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        is_set = schema.get("x-kubernetes-list-type") == "set"
        if not keys and not is_set:
            return value
        seen: list[Any] = []
        for i, item in enumerate(value):
            mark = {k: item.get(k) for k in keys} if keys and isinstance(item, dict) else item
            if mark in seen:
                self.wrong(f"{path}[{i}]", Reason.DUPLICATE, f"Duplicate value: {_quote(mark)}")
            seen.append(mark)
        return value

    def _int_or_string(self, value: Any, schema: Schema, path: str) -> None:
        if not (_is("integer", value) or isinstance(value, str)):
            # An amount may also be written as a decimal number.
            if "pattern" in schema and _is("number", value):
                return
            text = f"Invalid value: {_quote(value)}: must be an integer or a string"
            self.wrong(path, Reason.TYPE_INVALID, text)
        elif isinstance(value, str):
            self._constraints(value, schema, path)

    def _constraints(self, value: Any, schema: Schema, path: str) -> None:
        if _CONSTRAINTS.isdisjoint(schema):
            return  # as with most fields, of which each write has dozens
        allowed = schema.get("enum")
        if allowed is not None and value not in allowed:
            words = ", ".join(_quote(word) for word in allowed)
            text = f"Unsupported value: {_quote(value)}: supported values: {words}"
            self.wrong(path, Reason.NOT_SUPPORTED, text)
        for breach in _breaches(value, schema):
            text = f"Invalid value: {_quote(value)}: {path} in body {breach}"
            self.wrong(path, Reason.INVALID, text)
        for part in schema.get("allOf") or ():
            self._constraints(value, part, path)
        self._required_only(value, schema, path)

    def _required_only(self, value: Any, schema: Schema, path: str) -> None:
        """Check anyOf, oneOf and not, which in a structural schema only constrain."""
        for word, text in (("anyOf", "at least one"), ("oneOf", "exactly one")):
            choices = schema.get(word)
            if not choices:
                continue
            fitting = sum(_fits(value, choice) for choice in choices)
            if fitting == 0 or (word == "oneOf" and fitting > 1):
                message = f"must validate {text} of the schemas ({word})"
                self.wrong(path, Reason.INVALID, f"Invalid value: {_quote(value)}: {message}")
        if "not" in schema and _fits(value, schema["not"]):
            message = "must not validate the schema (not)"
            self.wrong(path, Reason.INVALID, f"Invalid value: {_quote(value)}: {message}")


_CONSTRAINTS = frozenset(
    [
        "enum",
        "pattern",
        "format",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "uniqueItems",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ]
)
"""Words of a schema that say more of a value than its type."""


def _fits(value: Any, schema: Schema) -> bool:
    """Return whether the value satisfies a schema of constraints alone."""
    if schema.get("type") and not _is(schema["type"], value):
        return False
    walk = _Walk()
    if isinstance(value, dict):
        open_schema = {_PRESERVE: True, **{k: v for k, v in schema.items() if k != "type"}}
        walk.visit(duplicate(value), open_schema, "")
    else:
        walk.visit(value, schema, "")
    return not walk.errors


def _breaches(value: Any, schema: Schema) -> list[str]:
    """Return which limits the value breaks, each as the end of a sentence."""
    found: list[str] = []
    if isinstance(value, str):
        pattern = schema.get("pattern")
        if pattern and not _compiled(pattern).search(value):
            found.append(f"should match '{pattern}'")
        found += _limits(len(value), schema, "Length", "{} chars long")
        check = _FORMATS.get(schema.get("format") or "")
        if check is not None and not _passes(check, value):
            found.append(f"must be of type {schema['format']}")
    elif isinstance(value, list):
        found += _limits(len(value), schema, "Items", "{} items long")
        if schema.get("uniqueItems") and any(value[i] in value[:i] for i in range(len(value))):
            found.append("shouldn't contain duplicates")
    elif isinstance(value, dict):
        found += _limits(len(value), schema, "Properties", "{} properties long")
    elif _is("number", value):
        found += _bounds(value, schema)
    return found


def _passes(check: Callable[[str], object], value: str) -> bool:
    try:
        check(value)
    except ValueError:
        return False
    return True


_FORMATS: Mapping[str, Callable[[str], object]] = {
    "date-time": datetime.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "ip": ipaddress.ip_address,
    "cidr": ipaddress.ip_interface,
}


def _limits(size: int, schema: Schema, noun: str, unit: str) -> list[str]:
    found = []
    least, most = schema.get(f"min{noun}"), schema.get(f"max{noun}")
    if least is not None and size < least:
        found.append("should be at least " + unit.format(least))
    if most is not None and size > most:
        found.append("should be at most " + unit.format(most))
    return found


def _bounds(value: float, schema: Schema) -> list[str]:
    found = []
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    open_low, open_high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and (value < low or (open_low and value == low)):
        found.append(f"should be greater than {'' if open_low else 'or equal to '}{low}")
    if high is not None and (value > high or (open_high and value == high)):
        found.append(f"should be less than {'' if open_high else 'or equal to '}{high}")
    if step is not None and value % step:
        found.append(f"should be a multiple of {step}")
    return found


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Go's `$` matches only at the very end of the text, Python's also before a last newline.
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern))


def _is(wanted: str, value: Any) -> bool:
    match wanted:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            whole = isinstance(value, float) and value.is_integer()
            return (isinstance(value, int) and not isinstance(value, bool)) or whole
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return True


def _type_name(value: Any) -> str:
    names = ("boolean", "integer", "number", "string", "array", "object")
    return next((name for name in names if _is(name, value)), "null")


def _quote(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}={_quote(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_quote(item) for item in value) + "]"
    return str(value)
