"""Every fault of the catalogue is named first, goes when it is cleared, and traffic flows again."""

import contextlib
import io
import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from lab_run import VIP, LabRun, wait_for

from cairn.cli import why
from cairn.lab import faults
from cairn.lab.breakages.catalogue import FAULTS
from cairn.lab.fault import Fault
from cairn.lab.state import load_lab

pytestmark = pytest.mark.lab

NAMED_WITHIN_S = 25.0
WELL_WITHIN_S = 40.0
HEALTHY = f"client-1 {VIP}"
STRANGER = "duplicate-address"
"""It is seen and gone with the next look round: see test_l2_announcement."""
OUTSIDE = "name-not-learnt"
"""Its name is none that a lab knows: see test_why."""
WALKED = [f for f in FAULTS if f.finding and f.why and f.name != OUTSIDE]
APART = [f for f in WALKED if f.target == "NAMESPACE" and f.example == "default"]
"""They add objects of their own: all of them are in force together."""
ALONE = [f for f in WALKED if f not in APART and f.name != STRANGER]


def ask(lab: LabRun, words: str) -> dict[str, Any]:
    """Return what `cairn why` says."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        why.main([*shlex.split(words), "--kubeconfig", lab.kubeconfig, "-o", "json"])
    return dict(json.loads(out.getvalue()))


def is_named(lab: LabRun, fault: Fault) -> bool:
    """Return whether the fault's finding is the first one."""
    found = ask(lab, fault.why)["findings"]
    return bool(found) and found[0]["code"] == fault.finding


def is_well(lab: LabRun) -> bool:
    """Return whether nothing is found, and the client is answered."""
    told = ask(lab, HEALTHY)
    return not told["findings"] and "pod" in lab.web()


def name_of(fault: Fault) -> str:
    return fault.name


@pytest.fixture(scope="module", autouse=True)
def well(lab: LabRun) -> None:
    wait_for("a lab that is well before the faults", lambda: is_well(lab), within_s=WELL_WITHIN_S)


@pytest.fixture
def broken(lab: LabRun, request: pytest.FixtureRequest) -> Iterator[Fault]:
    """A lab with one fault; well again when the test is over."""
    fault: Fault = request.param
    record = load_lab(lab.name)
    try:
        faults.inject(record, fault.name, *fault.example.split())
        yield fault
    finally:
        faults.clear(record)
    wait_for(f"{fault.name} gone", lambda: is_well(lab), within_s=WELL_WITHIN_S)


@pytest.mark.parametrize("broken", ALONE, ids=name_of, indirect=True)
def test_the_cause_is_named_first(lab: LabRun, broken: Fault) -> None:
    what = f"{broken.finding} first by cairn why {broken.why}"
    wait_for(what, lambda: is_named(lab, broken), within_s=NAMED_WITHIN_S)


@pytest.fixture(scope="module")
def apart(lab: LabRun) -> Iterator[LabRun]:
    """All faults that add objects of their own."""
    record = load_lab(lab.name)
    try:
        for fault in APART:
            faults.inject(record, fault.name, *fault.example.split())
        yield lab
    finally:
        faults.clear(record)
    wait_for("all of them gone", lambda: is_well(lab), within_s=WELL_WITHIN_S)


@pytest.mark.parametrize("fault", APART, ids=name_of)
def test_the_cause_is_named_first_among_others(apart: LabRun, fault: Fault) -> None:
    what = f"{fault.finding} first by cairn why {fault.why}"
    wait_for(what, lambda: is_named(apart, fault), within_s=NAMED_WITHIN_S)
