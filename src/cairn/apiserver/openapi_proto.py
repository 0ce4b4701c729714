"""OpenAPI v2 as protobuf, the only form that kubectl before 1.24 reads.

    OpenAPI v2 (dict)  ->  bytes of the message openapi.v2.Document

Layout      Written by a table of field numbers; what the table does not name is not written.
            Extensions (`x-…`) become NamedAny with their value as YAML, of which JSON is a part.
Standards   gnostic OpenAPIv2.proto; Protocol Buffers encoding
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

PROTO_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

Encode = Callable[[Any], bytes]


def write_document(document: Mapping[str, Any]) -> bytes:
    """Return the message of a whole document.

    Of the paths only patch is written, and of that what it is of and what one may ask of it: by
    these `kubectl diff` and `--dry-run=server` learn whether the server can try a change.
    """
    info = document.get("info") or {}
    definitions = document.get("definitions") or {}
    return b"".join(
        (
            _text(1, document.get("swagger", "2.0")),
            _message(2, _text(1, info.get("title", "")) + _text(2, info.get("version", ""))),
            _message(8, _paths(document.get("paths") or {})),
            _message(9, b"".join(_message(1, m) for m in _named(definitions, _schema))),
        )
    )


def _schema(schema: Mapping[str, Any]) -> bytes:
    parts = [encode(schema[name]) for name, encode in _FIELDS if name in schema]
    for name, value in schema.items():
        if name.startswith("x-"):
            yaml = _text(2, msgspec.json.encode(value).decode())
            parts.append(_message(31, _text(1, name) + _message(2, yaml)))
    return b"".join(parts)


def _paths(paths: Mapping[str, Any]) -> bytes:
    patched = {path: item["patch"] for path, item in paths.items() if "patch" in item}
    return b"".join(_message(2, m) for m in _named(patched, lambda p: _message(8, _operation(p))))


def _operation(operation: Mapping[str, Any]) -> bytes:
    names = [p["name"] for p in operation.get("parameters") or () if p.get("in") == "query"]
    mark = "x-kubernetes-group-version-kind"
    yaml = _text(2, msgspec.json.encode(operation[mark]).decode())
    parameters = b"".join(_message(8, _query_parameter(name)) for name in names)
    return parameters + _message(13, _text(1, mark) + _message(2, yaml))


def _query_parameter(name: str) -> bytes:
    """Return a ParametersItem that holds a Parameter, a NonBodyParameter, a query parameter."""
    query = _text(2, "query") + _text(4, name) + _text(6, "string")
    return _message(1, _message(2, _message(3, query)))


def _named(items: Mapping[str, Any], write: Encode) -> Iterable[bytes]:
    return (_text(1, name) + _message(2, write(value)) for name, value in items.items())


def _properties(items: Mapping[str, Any]) -> bytes:
    return _message(25, b"".join(_message(1, m) for m in _named(items, _schema)))


def _additional(value: Any) -> bytes:
    if isinstance(value, bool):
        return _message(21, _number(2, int(value)))
    return _message(21, _message(1, _schema(value)))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


_FIELDS: tuple[tuple[str, Encode], ...] = (
    ("$ref", lambda v: _text(1, v)),
    ("format", lambda v: _text(2, v)),
    ("title", lambda v: _text(3, v)),
    ("description", lambda v: _text(4, v)),
    ("required", lambda v: b"".join(_text(19, name) for name in v)),
    ("additionalProperties", _additional),
    ("type", lambda v: _message(22, _text(1, v))),
    ("items", lambda v: _message(23, _message(1, _schema(v)))),
    ("properties", _properties),
)
