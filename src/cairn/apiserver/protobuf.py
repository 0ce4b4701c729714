"""Requests in protobuf, as current kubectl sends them for builtin kinds, read as JSON objects.

    "k8s\\0" + runtime.Unknown  ->  {"apiVersion": …, "kind": …, …}

Layout      The table protobuf.yaml names each message's fields: number, JSON name, type.
Invariants  Any bytes are an object or Malformed. Fields that the table does not know are skipped.
            A scalar that Go cannot leave away (not a pointer) and that is zero counts as not set.
Standards   Protocol Buffers encoding; k8s.io/apimachinery runtime.Unknown (generated.proto)
Not here    Answers: they are JSON, which every client reads too.
"""

import functools
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import msgspec
import yaml

MAGIC = b"k8s\0"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
DEPTH_LIMIT = 64


class Malformed(Exception):
    """The bytes are not a message of this type; the text says why."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    """Its name in JSON."""
    type: str
    """string, int, bool, bytes, a special type, or a message's name."""
    pointer: bool
    """Whether it can be absent: then zero means zero."""
    repeated: bool
    """Whether it is a list."""
    mapped: bool
    """Whether it is a mapping from strings."""
    inline: bool
    """Whether its fields belong to the message around it."""


def read_object(data: bytes) -> dict[str, Any]:
    """Return the object in a request's body; raises Malformed."""
    if not data.startswith(MAGIC):
        raise Malformed("expected the four octets 'k8s\\0' at the beginning")
    unknown = dict(_fields(data[len(MAGIC) :]))
    meta = {number: _text(value) for number, value in _fields(_octets(unknown.get(1, b"")))}
    api_version, kind = meta.get(1, ""), meta.get(2, "")
    if kind == "DeleteOptions":
        name = "meta.DeleteOptions"
    else:
        group = api_version.rpartition("/")[0].partition(".")[0]
        name = f"{group or 'core'}.{kind}"
    if name not in _table():
        raise Malformed(f"{kind} of {api_version} is not known in protobuf: send JSON")
    obj = _message(name, _octets(unknown.get(2, b"")), 0)
    return {"apiVersion": api_version, "kind": kind} | obj


@functools.cache
def _table() -> dict[str, str]:
    text = files("cairn.apiserver").joinpath("protobuf.yaml").read_text("utf-8")
    table: dict[str, str] = yaml.safe_load(text)
    return table


@functools.cache
def _fields_of(name: str) -> dict[int, Field]:
    fields = {}
    for item in filter(None, (_table().get(name) or "").split("; ")):
        number, json_name, spelled = item.split(" ")
        bare = spelled.lstrip("*^")
        fields[int(number)] = Field(
            json_name,
            bare.removeprefix("[]").removeprefix("map:"),
            pointer=spelled.startswith("*"),
            repeated=bare.startswith("[]"),
            mapped=bare.startswith("map:"),
            inline=spelled.startswith("^"),
        )
    return fields


def _message(name: str, data: bytes, depth: int) -> dict[str, Any]:
    if depth > DEPTH_LIMIT:
        raise Malformed(f"more than {DEPTH_LIMIT} messages within each other")
    known = _fields_of(name)
    obj: dict[str, Any] = {}
    for number, raw in _fields(data):
        field = known.get(number)
        if field is None:
            continue
        if field.mapped:
            key, value = _pair(field, raw, depth)
            obj.setdefault(field.name, {})[key] = value
            continue
        value = _value(field.type, raw, depth)
        if field.inline:
            obj |= value
        elif field.repeated:
            obj.setdefault(field.name, []).append(value)
        elif value is not None and (field.pointer or value not in ("", 0, False)):
            obj[field.name] = value
    return obj


def _pair(field: Field, raw: int | bytes, depth: int) -> tuple[str, Any]:
    parts = dict(_fields(_octets(raw)))
    return _text(parts.get(1, b"")), _value(field.type, parts.get(2, b""), depth)


def _value(kind: str, raw: int | bytes, depth: int) -> Any:
    read = _SCALARS.get(kind)
    return read(raw) if read else _message(kind, _octets(raw), depth + 1)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of every field: a number, or octets."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case other:
                raise Malformed(f"wire type {other} at octet {at}")
        if at + size > len(data):
            raise Malformed(f"field of {size} octets at octet {at}, only {len(data) - at} left")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed("a number runs past the end")
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value & (1 << 64) - 1, at
    raise Malformed(f"a number of more than ten octets at octet {at}")


def _octets(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise Malformed("a number where octets were expected")
    return raw


def _text(raw: int | bytes) -> str:
    try:
        return _octets(raw).decode()
    except UnicodeDecodeError as error:
        raise Malformed("a text is not UTF-8") from error


def _integer(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        raise Malformed("octets where a number was expected")
    return raw - (1 << 64) if raw >> 63 else raw


def _moment(raw: int | bytes) -> str | None:
    """Return seconds and nanoseconds as RFC 3339; the zero time is not set."""
    parts = {number: _integer(value) for number, value in _fields(_octets(raw))}
    seconds, micros = parts.get(1, 0), parts.get(2, 0) // 1000
    if not seconds:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise Malformed(f"{seconds} s is no date") from error
    fraction = f".{micros:06d}" if micros else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def _int_or_string(raw: int | bytes) -> int | str:
    parts = dict(_fields(_octets(raw)))
    return _text(parts.get(3, b"")) if parts.get(1) else _integer(parts.get(2, 0))


def _raw_json(raw: int | bytes) -> Any:
    try:
        return msgspec.json.decode(_octets(dict(_fields(_octets(raw))).get(1, b"{}")))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed("a raw field is not JSON") from error


_SCALARS: dict[str, Callable[[int | bytes], Any]] = {
    "string": _text,
    "int": _integer,
    "bool": lambda raw: bool(_integer(raw)),
    "bytes": lambda raw: b64encode(_octets(raw)).decode(),
    "Time": _moment,
    "MicroTime": _moment,
    "Quantity": lambda raw: _text(dict(_fields(_octets(raw))).get(1, b"")),
    "IntOrString": _int_or_string,
    "Raw": _raw_json,
}
