"""Tables, as `kubectl get` asks for them.

    Kind, objects, time  ->  meta.k8s.io/v1 Table

Invariants  The first column is the object's name, unless the kind has WIDE_NAME; a date is shown
            as an age.
Not here    What the columns of builtin kinds say (columns).
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from cairn.apiserver import jsonpath
from cairn.apiserver.duration import age
from cairn.apiserver.kind import Column, Json, Kind

NAME = Column("Name", "string", ".metadata.name", format="name", description="Name of the object.")
WIDE_NAME = replace(NAME, priority=1)
"""The name of an object that people know by something else, as an Event."""
AGE = Column(
    "Age", "date", ".metadata.creationTimestamp", description="How long ago it was created."
)


def render_table(
    kind: Kind, objects: Sequence[Mapping[str, Any]], *, now: datetime, include: str = "Metadata"
) -> Json:
    """Return the table of `objects`; each row brings "None", "Metadata" or the whole "Object"."""
    columns = _columns(kind)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [_row(obj, columns, now, include) for obj in objects],
    }


@functools.lru_cache(maxsize=256)
def _columns(kind: Kind) -> tuple[Column, ...]:
    columns = kind.columns or (AGE,)
    return columns if WIDE_NAME in columns else (NAME, *columns)


def _definition(column: Column) -> Json:
    # The cell of a date holds an age, but kubectl sorts and aligns by the type of the field.
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _row(obj: Mapping[str, Any], columns: Sequence[Column], now: datetime, include: str) -> Json:
    row: Json = {"cells": [_cell(obj, column, now) for column in columns]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": obj.get("metadata") or {},
        }
    return row


def _cell(obj: Mapping[str, Any], column: Column, now: datetime) -> Any:
    if not isinstance(column.source, str):
        return column.source(obj, now)
    found = _simple(obj, column.source)
    values = jsonpath.find(column.source, obj) if found is None else [found]
    if not values:
        return "<unknown>" if column.source == AGE.source else None
    if column.type == "date":
        return age(values[0], now)
    if column.type == "string":
        return ",".join(map(_text, values))
    return _number(values[0], column.type)


def _simple(obj: Mapping[str, Any], path: str) -> Any:
    """Return the value of a plain path; the common case, kept apart for speed."""
    if path == ".metadata.name":
        return obj["metadata"].get("name")
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def _number(value: Any, type_: str) -> Any:
    fits = {"integer": int, "number": int | float, "boolean": bool}[type_]
    if not isinstance(value, fits) or (type_ != "boolean" and isinstance(value, bool)):
        return None
    # kubectl shows a cell as it is spelt in JSON.
    return value
