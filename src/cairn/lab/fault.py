"""What a fault is: a row of the catalogue, and one that is in force.

    Fault(name, target, inject, clear, finding)  ->  Active(name, target, value, before)

Not here    The rows (breakages.catalogue), and keeping what is in force (faults).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cairn.lab.state import Lab, LabError
from cairn.lab.topology import Host, home_network


@dataclass(frozen=True, slots=True)
class Active:
    """One fault in force."""

    name: str
    """Its name in the catalogue."""
    target: str
    """Host, process or object."""
    value: str = ""
    """What the fault needs besides."""
    before: Any = None
    """What was there, as plain values: what clearing needs."""

    @property
    def text(self) -> str:
        """As one would type it."""
        return " ".join(word for word in (self.name, self.target, self.value) if word)


Inject = Callable[[Lab, str, str], Any]
"""Break a target, with a value; returns what clearing needs, as plain values."""
Clear = Callable[[Lab, Active], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the catalogue."""

    name: str
    """What the user types."""
    target: str
    """What it is aimed at: HOST, NODE, PROCESS, SERVICE, …"""
    help: str
    """One line for the list."""
    inject: Inject
    """Break it."""
    clear: Clear | None = None
    """Put it right; None for a fault that does not last."""
    value: str = ""
    """Name of the further value that it needs."""
    finding: str = ""
    """Code of the finding that must be named first; empty: it does not last, or is no fault."""
    example: str = ""
    """A target, and value, in the reference scenario for which `finding` is given."""
    why: str = ""
    """Arguments of `cairn why` whose walk finds the example; empty: `cairn doctor` alone does."""
    needs: str = ""
    """What else must be so for the finding, in words; empty: nothing."""


def host_of(lab: Lab, name: str) -> Host:
    """Return the lab's host of that name; raises LabError."""
    hosts = {host.name: host for host in home_network(lab.nodes, lab.far).hosts}
    if name not in hosts:
        raise LabError(f"no host {name!r} in lab {lab.name}; it has: {', '.join(hosts)}")
    return hosts[name]


def usage(fault: Fault) -> str:
    """Return how the fault is typed."""
    return " ".join(word for word in (fault.name, fault.target, fault.value) if word)
