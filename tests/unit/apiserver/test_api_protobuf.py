"""Requests in protobuf: a message by hand, and that any bytes are an object or Malformed."""

import contextlib
from typing import Any

import pytest
from apiserver_bed import Core
from hypothesis import given
from hypothesis import strategies as st

from cairn.apiserver.builtin import BUILTIN
from cairn.apiserver.protobuf import MAGIC, MEDIA_TYPE, Malformed, read_object


def part(number: int, value: bytes | int) -> bytes:
    """Return one field; numbers and lengths here are below 128."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def unknown(api_version: str, kind: str, raw: bytes) -> bytes:
    meta = part(1, api_version.encode()) + part(2, kind.encode())
    return MAGIC + part(1, meta) + part(2, raw)


CONFIG = part(1, part(1, b"c")) + part(2, part(1, b"a") + part(2, b"1"))


def test_a_config_map_by_hand() -> None:
    assert read_object(unknown("v1", "ConfigMap", CONFIG)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"a": "1"},
    }


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (part(1, 0), {"replicas": 0}),  # a pointer: zero is a value
        (part(5, 0), {}),  # minReadySeconds is none: zero is not set
        (part(5, 3), {"minReadySeconds": 3}),
        (part(7, 0), {}),
        (part(7, 1), {"paused": True}),
        (part(2, b""), {"selector": {}}),
        (part(15, b"new"), {}),  # a field of the future
        (
            part(4, part(2, part(1, part(1, 1) + part(3, b"25%")))),
            {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}},
        ),
    ],
)
def test_zero_values_and_pointers(field: bytes, expected: dict[str, Any]) -> None:
    obj = read_object(unknown("apps/v1", "Deployment", part(2, field)))
    assert obj["spec"] == expected


def test_inlined_fields_and_times() -> None:
    volume = part(1, b"v") + part(2, part(2, b""))
    condition = part(1, b"Ready") + part(4, bytes([1 << 3]) + b"\x80\xa6\xbc\x9d\x07")
    pod = part(2, part(1, volume)) + part(3, part(2, condition))
    obj = read_object(unknown("v1", "Pod", pod))
    assert obj["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert obj["status"]["conditions"][0]["lastTransitionTime"].startswith("20")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        unknown("x.io/v1", "Box", b""),
        unknown("v1", "ConfigMap", part(1, 5)),
        unknown("v1", "ConfigMap", b"\x0a\x7f"),
        unknown("v1", "ConfigMap", b"\xff" * 11),
        unknown("v1", "ConfigMap", part(1, part(1, b"\xff"))),
        unknown("v1", "ConfigMap", b"\x0b"),
    ],
)
def test_broken_messages_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_object(data)


@given(st.binary(max_size=60), st.sampled_from(("Pod", "Event", "Service")))
def test_any_bytes_are_an_object_or_malformed(raw: bytes, kind: str) -> None:
    for data in (raw, MAGIC + raw, MAGIC + part(1, part(2, kind.encode())) + part(2, raw)):
        with contextlib.suppress(Malformed):
            assert "kind" in read_object(data)


# Definitions come from manifests, which kubectl sends as JSON.
CREATED = [kind for kind in BUILTIN if kind.group != "apiextensions.k8s.io"]


@pytest.mark.parametrize("kind", CREATED, ids=lambda kind: kind.kind)
def test_every_builtin_kind_is_known(kind: Any) -> None:
    data = unknown(kind.api_version, kind.kind, b"")
    assert read_object(data)["kind"] == kind.kind


def test_the_server_takes_it_and_names_what_it_does_not(core: Core) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    body = unknown("v1", "ConfigMap", CONFIG)
    made = core.send("POST", path, body, content_type=MEDIA_TYPE)
    assert (made.code, made.value["data"]) == (201, {"a": "1"})
    refused = core.send("POST", path, b"k8s\0\xff", content_type=MEDIA_TYPE)
    assert (refused.code, refused.value["reason"]) == (415, "UnsupportedMediaType")
