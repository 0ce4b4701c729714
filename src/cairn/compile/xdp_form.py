"""Which form of the XDP program a device gets, if any: decided from what is known of it.

    Device, what was asked for, what there is to drop  ->  Form

Pure. A frame that XDP sends out again must be whole: a virtual device passes on packets whose
checksum is left to hardware that is not there, and the program cannot tell. A network card hands in
what came over a wire.

Invariants  `why` says in a few words what was decided by.
"""

from dataclasses import dataclass
from enum import Enum


class Wish(Enum):
    """What the user asks of XDP (`cairn agent --xdp`)."""

    AUTO = "auto"
    """What fits the device."""
    OFF = "off"
    """No program at all: tcx does everything."""
    DROP = "drop"
    """Drops only."""
    HAND_OVER = "hand-over"
    """Hand-over, too, whatever the device: its sender leaves no checksum to it."""


@dataclass(frozen=True, slots=True)
class Device:
    """What is known of the uplink's device."""

    driver: str
    """Name of its driver."""
    virtual: bool
    """Whether software makes it: veth, bridge, bond, tun, VLAN."""
    has_vlans: bool
    """Whether VLAN devices sit on it: XDP may see their frames without the tag."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is to run."""

    attached: bool
    """Whether a program is to be at the device."""
    hand_over: bool
    """Whether it hands over as well."""
    why: str
    """By what it was decided."""


def choose_form(device: Device, wish: Wish, *, drops: bool) -> Form:
    """Return what is to run; `drops` says whether there is anything to drop early."""
    if wish is Wish.OFF:
        return Form(attached=False, hand_over=False, why="--xdp off: drops and hand-over at tcx")
    if wish is Wish.HAND_OVER:
        return Form(attached=True, hand_over=True, why=f"{device.driver}, by --xdp hand-over")
    if wish is Wish.DROP:
        why = "--xdp drop: hand-over at tcx"
    elif device.virtual:
        why = f"{device.driver}: hand-over at tcx"
    elif device.has_vlans:
        why = f"VLANs on {device.driver}: hand-over at tcx"
    else:
        return Form(attached=True, hand_over=True, why=device.driver)
    return Form(attached=drops, hand_over=False, why=why if drops else f"nothing to drop; {why}")
