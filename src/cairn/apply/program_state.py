"""Whether the data plane's programs run: the pinned links, and what the kernel says of each.

    PINS/links/*  ->  ProgramState

Invariants  A link whose interface or control group is gone counts as not attached.
"""

from dataclasses import dataclass
from pathlib import Path

from cairn.libbpf import BpfError, Link

POD_PREFIX = "pod-"
POD_PROGRAMS = ("pod_ingress", "pod_egress")
NAME_LENGTH = 15
"""Of a program, as the kernel keeps it."""


@dataclass(frozen=True, slots=True)
class ProgramState:
    """One program at one hook."""

    name: str
    """The pin's name: what the program is, and for a pod's the interface."""
    attached: bool
    program: str = ""
    """Name of what runs, if it is not Cairn's program for this hook."""

    @property
    def is_pods(self) -> bool:
        """Whether it stands at a pod's interface."""
        return self.name.startswith(POD_PREFIX)


def program_states(pins: Path) -> list[ProgramState]:
    """Return the state of every link that is pinned, by name."""
    return [_state(pin) for pin in sorted((pins / "links").glob("*"))]


def _state(pin: Path) -> ProgramState:
    try:
        with Link.open_pinned(pin) as link:
            name = link.program_name
            other = "" if _is_ours(pin.name, name) else name
            return ProgramState(pin.name, bool(link.target), other)
    except BpfError:
        return ProgramState(pin.name, attached=False)


def _is_ours(pin: str, name: str) -> bool:
    if pin.startswith(POD_PREFIX):
        return name in POD_PROGRAMS
    return name == pin[:NAME_LENGTH]
