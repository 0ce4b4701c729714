"""The verifier's work per program may not grow unnoticed: each count stays near its record.

After a change that is worth its cost: `CAIRN_RECORD=1 pytest tests/bpf/test_instruction_counts.py`
"""

import contextlib
import json
import os
from pathlib import Path

import pytest
import trial

from cairn.abi.event import KERNEL_REASONS, KernelTelling
from cairn.abi.structs import Config, ConfigFlag
from cairn.libbpf import load_object
from cairn.net import parse_address

pytestmark = pytest.mark.bpf

RECORD = Path(__file__).parent / "instruction_counts.json"
SLACK = 1.1
EVENTS = ConfigFlag.EVENTS | ConfigFlag.XDP_HAND_OVER
OBJECTS = (
    "uplink_ingress",
    "uplink_egress",
    "uplink_xdp",
    "overlay_ingress",
    "overlay_egress",
    "pod_egress",
    "pod_ingress",
    "socket",
    "kernel_drop",
)


def counts(flags: ConfigFlag = EVENTS) -> dict[str, int]:
    """Return how many instructions the verifier processes, by program."""
    address = parse_address(trial.NODE)
    config = Config(
        address, parse_address("::"), trial.LOOPBACK, flags, 0, trial.UPLINK, 1_000,
        20_000, 0,
    ).write()  # fmt: skip
    found: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        for name in OBJECTS:
            path = trial.OBJECTS / f"{name}.o"
            sections = {".rodata.config": config}
            if name == "kernel_drop":
                sections[".rodata.kernel"] = bytes([KernelTelling.TOLD] * KERNEL_REASONS)
            loaded = load_object(path, sizes=trial.SIZES, config=sections)
            stack.enter_context(loaded)
            for program in loaded.programs.values():
                found[program.name] = program.verified_instructions
    return found


def test_no_program_outgrows_its_record() -> None:
    traced = counts(EVENTS | ConfigFlag.TRACE)
    found = counts() | {f"{name} while tracing": count for name, count in traced.items()}
    if os.environ.get("CAIRN_RECORD"):
        RECORD.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    recorded: dict[str, int] = json.loads(RECORD.read_text())
    assert found.keys() == recorded.keys()
    grown = {
        name: (count, recorded[name])
        for name, count in found.items()
        if count > recorded[name] * SLACK
    }
    assert grown == {}, "verified instructions, now and recorded"
