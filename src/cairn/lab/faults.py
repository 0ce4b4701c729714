"""Faults on demand: break one thing of the lab, see what happens, put it right again.

    fault, target, value  ->  the lab broken in that way, and a record that can undo it

Invariants  Every lasting fault is in /run/cairn/LAB/faults.json until it is cleared.
Not here    What there is to break (breakages).
"""

import json
from dataclasses import asdict

from cairn.lab.breakages.catalogue import FAULTS
from cairn.lab.fault import Active, Fault, usage
from cairn.lab.fault_list import finding_text
from cairn.lab.state import Lab, WrongUsage, write_whole

UNDO = {"link-up": "link-down", "resume": "pause", "start": "stop", "heal": "partition"}
"""Words that clear one kind of fault."""


def inject(lab: Lab, name: str, target: str, value: str = "") -> None:
    """Break the target in the way named; raises LabError for what the catalogue does not hold."""
    fault = find(name)
    if not target or bool(value) != bool(fault.value):
        raise WrongUsage(f"usage: cairn lab fault {usage(fault)}")
    same = [one for one in active(lab) if (one.name, one.target) == (name, target)]
    before = fault.inject(lab, target, value)
    if fault.clear is not None:
        # What was there before the first injection is what has to come back.
        kept = same[0].before if same else before
        others = [one for one in active(lab) if (one.name, one.target) != (name, target)]
        _save(lab, [*others, Active(name, target, value, kept)])


def clear(lab: Lab, name: str = "", target: str = "") -> list[Active]:
    """Undo the faults in force, or only those of that name and target; return them, newest first.

    The newest goes first, so that what an older one has kept is the last to be written.
    """
    chosen = [one for one in active(lab) if name in ("", one.name) and target in ("", one.target)]
    chosen.reverse()
    for one in chosen:
        undo = find(one.name).clear
        if undo is not None:
            undo(lab, one)
        _save(lab, [other for other in active(lab) if other != one])
    return chosen


def active(lab: Lab) -> list[Active]:
    """Return the faults in force, oldest first."""
    try:
        return [Active(**raw) for raw in json.loads((lab.run / "faults.json").read_text())]
    except FileNotFoundError:
        return []


def find(name: str) -> Fault:
    """Return the fault of that name; raises WrongUsage."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    names = ", ".join(fault.name for fault in FAULTS)
    raise WrongUsage(f"no fault {name!r}; there are: {names}")


def describe(name: str) -> dict[str, str]:
    """Return all that the catalogue says of a fault, in the order to show it."""
    fault = find(name)
    lasting = fault.clear is not None
    told = {
        "fault": usage(fault),
        "help": fault.help,
        "clear": f"cairn lab fault clear {name}" if lasting else "nothing: it does not last",
        "finding": finding_text(fault) if fault.finding else "none",
        "example": f"cairn lab fault {name} {fault.example}" if fault.example else "",
        "needs": fault.needs,
        "see": f"cairn why {fault.why}" if fault.why else "cairn doctor" if fault.finding else "",
    }
    return {key: text for key, text in told.items() if text}


def _save(lab: Lab, faults: list[Active]) -> None:
    write_whole(lab.run / "faults.json", json.dumps([asdict(one) for one in faults]) + "\n", 0o600)
