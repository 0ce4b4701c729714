"""A short notation for OpenAPI schemas, so that a kind's schema reads like a table.

    obj(port=integer(…), targetPort=int_or_string(…))  ->  structural schema (dict)

Shapes      A trailing underscore of a field's name is dropped (`from_` is `from`).
Standards   OpenAPI 3.0; Kubernetes extensions x-kubernetes-*
            A `title` names a schema of its own in the OpenAPI documents.
"""

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]

QUANTITY_PATTERN = (
    r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
)


def _schema(type_: str, description: str, **more: Any) -> Schema:
    schema: Schema = {"type": type_}
    if description:
        schema["description"] = description
    schema.update({key: value for key, value in more.items() if value is not None})
    return schema


def string(
    description: str = "",
    *,
    enum: Sequence[str] | None = None,
    pattern: str | None = None,
    default: str | None = None,
    format: str | None = None,
    max_length: int | None = None,
) -> Schema:
    """Return a string's schema."""
    values = list(enum) if enum else None
    return _schema(
        "string", description, enum=values, pattern=pattern, default=default, format=format,
        maxLength=max_length,
    )  # fmt: skip


def integer(
    description: str = "",
    *,
    low: int | None = None,
    high: int | None = None,
    default: int | None = None,
    bits: int = 32,
) -> Schema:
    """Return an integer's schema; `low` and `high` are allowed values."""
    return _schema(
        "integer", description, format=f"int{bits}", minimum=low, maximum=high, default=default
    )


def boolean(description: str = "", *, default: bool | None = None) -> Schema:
    """Return a boolean's schema."""
    return _schema("boolean", description, default=default)


def moment(description: str = "") -> Schema:
    """Return the schema of a time as RFC 3339 text."""
    return _schema("string", description, format="date-time")


def int_or_string(description: str = "") -> Schema:
    """Return the schema of a number or a word, as a target port is."""
    schema: Schema = {"x-kubernetes-int-or-string": True, "format": "int-or-string"}
    return schema | ({"description": description} if description else {})


def quantity(description: str = "") -> Schema:
    """Return the schema of an amount such as `100m` or `64Mi`."""
    return int_or_string(description) | {"pattern": QUANTITY_PATTERN}


def anything(description: str = "") -> Schema:
    """Return the schema of an object whose fields are kept as they are."""
    return _schema("object", description, **{"x-kubernetes-preserve-unknown-fields": True})


def any_value(description: str = "") -> Schema:
    """Return the schema of any JSON value, kept as it is."""
    schema: Schema = {"x-kubernetes-preserve-unknown-fields": True}
    return schema | ({"description": description} if description else {})


def obj(
    about: str = "", /, *, title: str = "", required: Sequence[str] = (), **fields: Schema
) -> Schema:
    """Return an object's schema with the given fields; `title` names it in OpenAPI."""
    properties = {name.removesuffix("_"): field for name, field in fields.items()}
    return _schema(
        "object", about, title=title or None, required=list(required) or None,
        properties=properties,
    )  # fmt: skip


def map_of(item: Schema, description: str = "") -> Schema:
    """Return the schema of an object with free keys."""
    return _schema("object", description, additionalProperties=item)


def list_of(
    item: Schema,
    description: str = "",
    *,
    merge: str = "",
    keys: Sequence[str] = (),
    unique: bool = False,
    retain_keys: bool = False,
) -> Schema:
    """Return a list's schema.

    `merge` is the key by which strategic merge pairs items, `keys` are those that tell items
    apart (no two alike); `unique` makes it a set of plain values that merge.
    """
    more: Schema = {"items": item}
    if merge or unique:
        more["x-kubernetes-patch-strategy"] = "merge,retainKeys" if retain_keys else "merge"
    if merge:
        more["x-kubernetes-patch-merge-key"] = merge
    if keys:
        more |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    elif unique:
        more["x-kubernetes-list-type"] = "set"
    return _schema("array", description, **more)
