"""The XDP program at the uplink: there when it is of use, in the form that the device bears.

    Form, DataPlane, Uplink  ->  a pinned link, and a line that says how it is

Layout      PINS/links/uplink_xdp_native or uplink_xdp_generic: the name says how it is attached

Order       tcx counts for source rates until the program is there, and again before it goes: both
            may count a packet in between, never none.
Invariants  A program is replaced in place. A device that takes no program in its driver gets it in
            the kernel's generic form, for drops only: hand-over there would gain nothing.
            On a veth the program takes segmentation offload from the other end, so it is there
            only while there is something to drop.
Standards   linux/net/core/dev.c (dev_xdp_attach)
Not here    Which form (compile.xdp_form).
"""

import logging
import os
from math import log2
from pathlib import Path
from sys import byteorder

from cairn.abi.structs import ConfigFlag, RevisionFlag
from cairn.apply.data_plane import DataPlane
from cairn.apply.revision import RevisionMap
from cairn.apply.uplink import Uplink
from cairn.compile.xdp_form import Device, Form
from cairn.libbpf import AttachType, BpfError, Program, attach, detach_pinned
from cairn.linux.clock_tick import ticks_per_s
from cairn.linux.ethtool import driver_of
from cairn.netlink.link import list_links
from cairn.netlink.socket import RouteSocket

NAME = "uplink_xdp"
NATIVE, GENERIC = "native", "generic"
FLAGS = {NATIVE: 4, GENERIC: 2}
"""How a program is attached, as the kernel's flag (XDP_FLAGS_*)."""
LINES_IN_ALL = 262_144
"""Flows of 64 octets that all CPUs together remember: twice what conntrack holds."""
LEAST_LINES = 16_384
"""How many each one remembers at least."""
_VLAN = "vlan"

log = logging.getLogger(__name__)


def device_of(uplink: Uplink) -> Device:
    """Return what is known of the uplink's device."""
    with RouteSocket() as door:
        links = list_links(door)
    own = next((link for link in links if link.ifindex == uplink.ifindex), None)
    return Device(
        driver=driver_of(uplink.name),
        virtual=own is None or bool(own.kind),
        has_vlans=any(link.kind == _VLAN and link.peer == uplink.ifindex for link in links),
    )


class XdpHook:
    """The XDP program of one node."""

    def __init__(self, data_plane: DataPlane, uplink: Uplink, revision: RevisionMap) -> None:
        self._data_plane = data_plane
        self.uplink = uplink
        """Where it is."""
        self._revision = revision
        self._loaded: dict[tuple[bool, ConfigFlag], Program] = {}
        self._hand_over = False
        self.state = ""
        """How it is, for people; empty until `apply`."""

    def apply(self, form: Form) -> list[str]:
        """Make the device have what `form` says; return what failed."""
        before, failed = self.state, []
        try:
            self.state = self._attach(form) if form.attached else self._detach(form)
        except BpfError as error:
            self._revision.set(RevisionFlag.RATES_BEFORE, on=False)
            self.state = f"not attached, all at tcx: {error}"
            failed.append(f"XDP on {self.uplink.name}: {error}; tcx does the work instead")
        if self.state != before:
            log.info("XDP on %s: %s", self.uplink.name, self.state)
        return failed

    def reload(self) -> None:
        """Put the program that the data plane's flags ask for in the place of the one that runs.

        Raises BpfError.
        """
        with self._data_plane.turn:
            for mode in FLAGS:
                if self._pin(mode).exists():
                    self._put(mode, hand_over=self._hand_over and mode == NATIVE)

    def _attach(self, form: Form) -> str:
        state = f"{NATIVE}, {'drops and hand-over' if form.hand_over else 'drops only'}"
        why = form.why
        try:
            # Both at once the kernel does not take: what is generic stays so until it goes.
            if self._pin(GENERIC).exists():
                raise BpfError("generic before the agent came")
            self._put(NATIVE, hand_over=form.hand_over)
        except BpfError as error:
            self._put(GENERIC, hand_over=False)
            state, why = f"{GENERIC}, drops only", f"not native: {error}"
        self._revision.set(RevisionFlag.RATES_BEFORE, on=True)
        return f"{state} ({why})"

    def _put(self, mode: str, *, hand_over: bool) -> None:
        with self._data_plane.turn:
            program = self._program(hand_over=hand_over)
            pin, flags = self._pin(mode), FLAGS[mode]
            attach(program, AttachType.XDP, self.uplink.ifindex, pin, flags=flags).close()
            self._hand_over = hand_over

    def _detach(self, form: Form) -> str:
        self._revision.set(RevisionFlag.RATES_BEFORE, on=False)
        for mode in FLAGS:
            detach_pinned(self._pin(mode))
        return f"not attached ({form.why})"

    def _pin(self, mode: str) -> Path:
        return self._data_plane.links / f"{NAME}_{mode}"

    def _program(self, *, hand_over: bool) -> Program:
        key = (hand_over, self._data_plane.flags)
        if key not in self._loaded:
            lines = _lines() if hand_over else 0
            numbers = (lines, round(log2(ticks_per_s())))
            loaded = self._data_plane.load_beside(
                NAME,
                flags=ConfigFlag.XDP_HAND_OVER if hand_over else ConfigFlag(0),
                sections={".rodata.flows": b"".join(n.to_bytes(4, byteorder) for n in numbers)},
                sizes={"flows": max(1, lines * (os.cpu_count() or 1))},
            )
            self._loaded[key] = loaded.programs[NAME]
        return self._loaded[key]


def _lines() -> int:
    """Return how many flows each CPU remembers: a power of two."""
    share = LINES_IN_ALL // (os.cpu_count() or 1)
    return max(LEAST_LINES, 1 << (share.bit_length() - 1))
