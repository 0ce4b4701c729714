"""Every codec reads its vectors, and writes them back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bgp_vectors import ROOT, Vector, load

from cairn.bgp.attribute.table import ALL as ATTRIBUTES
from cairn.bgp.capability.table import ALL as CAPABILITIES
from cairn.bgp.capability.table import read_capabilities, write_capability
from cairn.bgp.framing import MAX_EXTENDED_MESSAGE_BYTES, Framer, write_frame
from cairn.bgp.framing import MessageType as Type
from cairn.bgp.message.notification import read_notification, write_notification
from cairn.bgp.message.open import read_open, write_open
from cairn.bgp.message.refresh import read_refresh, write_refresh
from cairn.bgp.message.update import read_update
from cairn.bgp.nlri.table import ALL as NLRI
from cairn.wire import Malformed, Reader

Codec = tuple[Callable[[Vector], Any], Callable[[Vector, Any], bytes]]


def file_name(name: str) -> str:
    return name.replace(" ", "_")


def attribute(name: str) -> Codec:
    kind = next(one for one in ATTRIBUTES if one.name.lower() == name)
    return (
        lambda vector: kind.read(Reader(vector.octets), vector.negotiated),
        lambda vector, value: kind.write(value, vector.negotiated),
    )


def capability(name: str) -> Codec:
    return (
        lambda vector: read_capabilities(Reader(vector.octets)),
        lambda vector, value: b"".join(write_capability(one) for one in value),
    )


def nlri(name: str) -> Codec:
    kind = next(one for one in NLRI if file_name(one.name) == name)
    return (
        lambda vector: kind.read(Reader(vector.octets)),
        lambda vector, value: b"".join(kind.write(value)),
    )


def read_message(vector: Vector) -> Any:
    framer = Framer()
    framer.max_bytes = MAX_EXTENDED_MESSAGE_BYTES
    framer.feed(vector.octets)
    frame = framer.next()
    assert frame is not None, "not a whole message"
    match frame.type:
        case Type.OPEN:
            return read_open(frame.body)
        case Type.UPDATE:
            return read_update(frame.body, vector.negotiated)
        case Type.NOTIFICATION:
            return read_notification(frame.body)
        case Type.ROUTE_REFRESH:
            return read_refresh(frame.body)
        case Type.KEEPALIVE:
            return frame


def message(name: str) -> Codec:
    write: dict[str, Callable[[Any], bytes]] = {
        "open": lambda value: write_frame(Type.OPEN, write_open(value)),
        "notification": lambda value: write_frame(Type.NOTIFICATION, write_notification(value)),
        "refresh": lambda value: write_frame(Type.ROUTE_REFRESH, write_refresh(value)),
        "keepalive": lambda value: write_frame(value.type, value.body),
    }
    return read_message, lambda vector, value: write[name](value)


CODECS = {"attribute": attribute, "capability": capability, "nlri": nlri, "message": message}
FILES = sorted(ROOT.rglob("*.vec"))
VECTORS = [
    pytest.param(path, vector, id=f"{path.parent.name}/{path.stem}: {vector.name}")
    for path in FILES
    for vector in load(path)
]


@pytest.mark.parametrize(("path", "vector"), VECTORS)
def test_vector(path: Path, vector: Vector) -> None:
    read, write = CODECS[path.parent.name](path.stem)
    if vector.error:
        with pytest.raises(Malformed, match=vector.error):
            read(vector)
        return
    value = read(vector)
    assert repr(value) == vector.value
    if vector.inverse:
        assert write(vector, value).hex() == vector.octets.hex()


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("attribute", [one.name.lower() for one in ATTRIBUTES]),
        ("capability", [file_name(one.name) for one in CAPABILITIES]),
        ("nlri", [file_name(one.name) for one in NLRI]),
        ("message", ["open", "update", "notification", "keepalive", "refresh"]),
    ],
)
def test_every_item_of_a_registry_has_a_vector(folder: str, names: list[str]) -> None:
    there = {path.stem for path in (ROOT / folder).glob("*.vec")}
    assert set(names) <= there


@pytest.mark.parametrize(("registry", "floor"), [(ATTRIBUTES, 16), (CAPABILITIES, 6), (NLRI, 2)])
def test_registries_do_not_shrink(registry: tuple[Any, ...], floor: int) -> None:
    assert len(registry) >= floor
