"""Faults of the home router: lines of its configuration that its owner got wrong.

    a change of router.yaml  ->  the router started again with it

Invariants  The file's text before is part of the record, and is what comes back.
Not here    Routers other than Cairn's own, which have files of their own.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from cairn.lab import control
from cairn.lab.fault import Active
from cairn.lab.state import Lab, LabError
from cairn.lab.topology import ROUTER

Change = Callable[[dict[str, Any]], None]
_READY_S = 10.0


def every_group(**fields: Any) -> Change:
    """Return the change that gives every peer group these fields."""

    def change(config: dict[str, Any]) -> None:
        for group in config["groups"]:
            group.update(fields)

    return change


def top(**fields: Any) -> Change:
    """Return the change of these fields of the whole router."""
    return lambda config: config.update(fields)


def misconfigure(lab: Lab, target: str, _: str, *, change: Change) -> str:
    """Change the router's file, start it again and return what the file was."""
    path = _file(lab, target)
    before = path.read_text()
    config = yaml.safe_load(before)
    change(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    try:
        _restart(lab)
    except LabError:
        path.write_text(before)  # nobody would know of it, since this fault is not in force
        _restart(lab)
        raise
    return before


def configure(lab: Lab, active: Active) -> None:
    """Write the file as it was and start the router again."""
    _file(lab, active.target).write_text(active.before)
    _restart(lab)


def _file(lab: Lab, target: str) -> Path:
    if target != ROUTER:
        raise LabError(f"no router {target!r} in lab {lab.name}; it has: {ROUTER}")
    if lab.router != "cairn":
        raise LabError(f"the router of lab {lab.name} is {lab.router}; this fault is of cairn's")
    return lab.run / ROUTER / "router.yaml"


def _restart(lab: Lab) -> None:
    control.command(lab, "restart", ROUTER)
    end = time.monotonic() + _READY_S
    command = [str(lab.bin / "bgpctl"), "show", "neighbor"]
    while subprocess.run(command, capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            raise LabError(f"the router does not answer again; see {lab.logs}/router.log")
        time.sleep(0.05)
