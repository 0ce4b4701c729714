"""The generated twins: round trips, sizes, and that they are current."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cairn.abi import records, structs
from cairn.abi.address import read_address, write_address
from cairn.abi.structs import Backend, BackendFlag, ServiceKey
from cairn.abi.verdicts import FIRST_DROP, TEXTS, Verdict

ROOT = Path(__file__).parents[3]
CLASSES = [
    value
    for value in vars(structs).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type)
]
SAMPLES = {"int": 0x51, "bytes": b"\x02\xca\x18\0\0\1", "Address": ip_address("2001:db8::5")}


def sample(kind: Any) -> Any:
    """Return a value whose fields are all different from zero."""
    names = {f.name: getattr(f.type, "__name__", str(f.type)) for f in dataclasses.fields(kind)}
    return kind(**{n: SAMPLES[t if t in SAMPLES else "Address"] for n, t in names.items()})


def same(given: Any, found: Any) -> bool:
    """Return whether a field came back; octets fill theirs with zeros."""
    if isinstance(given, bytes):
        return bool(given.ljust(len(found), b"\0") == found)
    return bool(given == found)


def test_there_are_structures() -> None:
    assert len(CLASSES) >= 17


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_round_trip(kind: Any) -> None:
    value = sample(kind)
    octets = value.write()
    assert len(octets) == kind.SIZE
    found = kind.read(octets)
    for field in dataclasses.fields(kind):
        assert same(getattr(value, field.name), getattr(found, field.name)), field.name
    assert found.write() == octets


def test_the_layout_of_a_key() -> None:
    key = ServiceKey(ip_address("192.168.1.100"), 80, 6).write()
    assert key == bytes.fromhex("00000000000000000000ffffc0a80164 0050 06 00")


def test_the_layout_of_a_backend() -> None:
    value = Backend(ip_address("10.244.1.5"), 8080, BackendFlag.LOCAL, 2)
    wanted = bytes.fromhex("00000000000000000000ffff0af40105 1f90 0100 02000000")
    assert value.write() == wanted


@pytest.mark.parametrize("text", ["10.0.0.1", "2001:db8::1", "::"])
def test_addresses(text: str) -> None:
    assert read_address(write_address(ip_address(text))) == ip_address(text)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (records.EVENT, structs.Event),
        (records.TUPLE, structs.Tuple),
        (records.CONNECTION, structs.Connection),
        (records.METRIC, structs.Metric),
    ],
)
def test_columns_agree_with_structures(record: np.dtype[np.void], kind: Any) -> None:
    value = sample(kind)
    row = np.frombuffer(value.write(), record)[0]
    assert record.itemsize == kind.SIZE
    for field in dataclasses.fields(kind):
        if isinstance(getattr(value, field.name), int):
            assert row[field.name] == getattr(value, field.name)


def test_every_verdict_has_a_text() -> None:
    assert set(TEXTS) == set(Verdict)
    for verdict in Verdict:
        assert verdict.is_drop == verdict.name.startswith("DROP_") == (verdict >= FIRST_DROP)
        assert verdict.text


def test_the_twins_are_current(needs: Callable[[str], None]) -> None:
    needs("program bpftool")
    command = [sys.executable, str(ROOT / "tools" / "abigen.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
