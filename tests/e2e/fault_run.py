"""Faults put in force in a lab, and what the doctor says of it.

lab, fault  ->  it is named first, and nothing is found once it is cleared
"""

import contextlib
import io
import json
from collections.abc import Iterator
from typing import Any

from lab_run import LabRun, wait_for

from cairn.cli import doctor
from cairn.lab import faults
from cairn.lab.fault import Fault
from cairn.lab.state import load_lab

NAMED_WITHIN_S = 30.0
WELL_WITHIN_S = 40.0
FLAPS = "CRN-220"


def look(lab: LabRun) -> list[dict[str, Any]]:
    """Return what the doctor finds."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        doctor.main(["--kubeconfig", lab.kubeconfig, "-o", "json"])
    return list(json.loads(out.getvalue())["findings"])


def examine(lab: LabRun) -> list[dict[str, Any]]:
    """Return the same without notes, and without the sessions that tests ended."""
    return [one for one in look(lab) if one["weight"] != "note" and one["code"] != FLAPS]


def notes(lab: LabRun) -> set[str]:
    """Return the codes of what is only worth knowing."""
    return {one["code"] for one in look(lab) if one["weight"] == "note"}


def named_first(lab: LabRun, fault: Fault) -> None:
    """Wait until the fault's finding is the first one; fails with what else is."""
    seen: list[str] = []

    def first() -> bool:
        seen[:] = [f"{one['code']} {one['subject']}: {one['cause']}" for one in examine(lab)]
        return bool(seen) and seen[0].startswith(fault.finding)

    try:
        wait_for(f"{fault.finding} first", first, within_s=NAMED_WITHIN_S)
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *seen])) from None


def is_well(lab: LabRun) -> bool:
    """Return whether nothing is found."""
    return not examine(lab)


@contextlib.contextmanager
def broken(lab: LabRun, name: str, target: str = "") -> Iterator[Fault]:
    """Have one fault in force; the lab is well when it is gone."""
    fault, record = faults.find(name), load_lab(lab.name)
    try:
        faults.inject(record, name, *([target] if target else fault.example.split()))
        yield fault
    finally:
        faults.clear(record, name)
    wait_for(f"{name} gone", lambda: is_well(lab), within_s=WELL_WITHIN_S)
