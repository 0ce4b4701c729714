"""What the supervisor runs, and what became of it.

Process (wanted)  +  Life (found)  <->  JSON in processes.json and on the control socket
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cairn.linux.process import Identity

LISTENER = "{listener}"
"""In an argument: replaced by the number of the file descriptor of the loopback listener."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process that the lab keeps running."""

    name: str
    """Its name in status, logs and faults."""
    host: str
    """The host whose network namespace and control group it runs in."""
    argv: tuple[str, ...]
    """Program and arguments."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What is added to the lab's own environment."""
    user: str | None = None
    """Account to run as; None for root."""


@dataclass(slots=True)
class Life:
    """What became of a process since the lab came up."""

    identity: Identity | None = None
    """The running process; None while there is none."""
    wanted: bool = True
    """Whether it should run."""
    restarts: int = 0
    """How often it was started again."""
    last_exit: str = ""
    """How it ended last: `exit 1`, `signal KILL`, or why it could not start."""
    since: float = 0.0
    """Wall-clock time of its last start or end."""

    @property
    def state(self) -> str:
        """One word for people."""
        if self.identity is not None:
            return "running"
        return "restarting" if self.wanted else "stopped"


def process_to_json(process: Process) -> dict[str, Any]:
    """Return the JSON form of a process."""
    return dataclasses.asdict(process)


def process_from_json(raw: Mapping[str, Any]) -> Process:
    """Return the process that the JSON form tells of."""
    return Process(
        raw["name"],
        raw["host"],
        tuple(raw["argv"]),
        dict(raw.get("environment") or {}),
        raw.get("user"),
    )


def life_to_json(life: Life) -> dict[str, Any]:
    """Return the JSON form of a life."""
    return dataclasses.asdict(life) | {"state": life.state}


def life_from_json(raw: Mapping[str, Any]) -> Life:
    """Return the life that the JSON form tells of."""
    found = raw.get("identity")
    return Life(
        Identity(found["pid"], found["started"]) if found else None,
        raw["wanted"],
        raw["restarts"],
        raw["last_exit"],
        raw["since"],
    )
