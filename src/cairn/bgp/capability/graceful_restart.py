"""Capability 64: how long routes should outlive the session while the speaker restarts.

    flags:4 bits, restart time:12 bits, then AFI:u16 SAFI:u8 flags:u8 each  <->  GracefulRestart

Units       seconds, 0 to 4095
Standards   RFC 4724 s3
"""

from dataclasses import dataclass

from cairn.bgp.capability.kind import CapabilityKind
from cairn.bgp.family import Family, read_family, write_family
from cairn.wire import Reader, Writer

RESTART_STATE = 0x8000
NOTIFICATION = 0x4000
"""RFC 8538 s2: graceful restart also after NOTIFICATION; kept, not acted on."""
RESTART_TIME = 0x0FFF
FORWARDING_STATE = 0x80


@dataclass(frozen=True, slots=True)
class PreservedFamily:
    """A family that survives a restart."""

    family: Family
    """Which."""
    forwarding: bool
    """The forwarding state was preserved during the last restart."""


@dataclass(frozen=True, slots=True)
class GracefulRestart:
    """The speaker can restart without disturbing forwarding."""

    restart_time_s: int
    """How long its peer should keep routes."""
    families: tuple[PreservedFamily, ...] = ()
    """What is preserved; empty: only the End-of-RIB marker is understood."""
    restarting: bool = False
    """The speaker has just restarted: it waits for no End-of-RIB."""
    notification: bool = False
    """RFC 8538: also after NOTIFICATION."""

    def __str__(self) -> str:
        return f"graceful restart {self.restart_time_s} s"

    def preserves(self, family: Family) -> bool:
        """Return whether forwarding of `family` was preserved."""
        return any(one.family == family and one.forwarding for one in self.families)

    def names(self, family: Family) -> bool:
        """Return whether `family` is in the list at all."""
        return any(one.family == family for one in self.families)


def read_graceful_restart(wire: Reader) -> GracefulRestart:
    """Read flags, time and families."""
    head = wire.u16()
    families: list[PreservedFamily] = []
    while wire:
        family = read_family(wire)
        families.append(PreservedFamily(family, forwarding=bool(wire.u8() & FORWARDING_STATE)))
    return GracefulRestart(
        head & RESTART_TIME,
        tuple(families),
        restarting=bool(head & RESTART_STATE),
        notification=bool(head & NOTIFICATION),
    )


def write_graceful_restart(value: GracefulRestart) -> bytes:
    """Return the capability's contents."""
    head = value.restart_time_s & RESTART_TIME
    head |= RESTART_STATE if value.restarting else 0
    head |= NOTIFICATION if value.notification else 0
    out = Writer().u16(head)
    for one in value.families:
        out.put(write_family(one.family)).u8(FORWARDING_STATE if one.forwarding else 0)
    return out.done()


KIND = CapabilityKind(
    code=64,
    name="graceful restart",
    type=GracefulRestart,
    read=read_graceful_restart,
    write=write_graceful_restart,
    spec="RFC 4724 s3",
)
