"""Why the kernel drops packets: its own names, and which of them are worth telling.

    enum skb_drop_reason of the running kernel  ->  number: name, and a table for the program

A reason that is not known here is told: kernels gain some with every version.

Invariants  Names are the running kernel's; a number means another reason on another kernel.
Standards   linux/include/net/dropreason-core.h
"""

from collections.abc import Mapping

from cairn.abi.event import KERNEL_REASONS, KernelTelling

ENUM = "skb_drop_reason"
PREFIX = "SKB_DROP_REASON_"
BEYOND = KERNEL_REASONS - 1
BEYOND_NAME = "OF_A_SUBSYSTEM"
"""What has no number of its own in an event: reasons of drivers and of wireless networks."""

ORDINARY: dict[str, frozenset[str]] = {
    "no drop": frozenset({"SKB_NOT_DROPPED_YET", "SKB_CONSUMED", "MAX", "SUBSYS_MASK"}),
    "a program's own, which tells of it itself, as Cairn's do": frozenset(
        {"TC_INGRESS", "TC_EGRESS", "XDP"}
    ),
    "what TCP throws away in good health: copies, and what comes after an end": frozenset(
        {
            "TCP_OLD_DATA",
            "TCP_OLD_ACK",
            "TCP_TOO_OLD_ACK",
            "TCP_OLD_SEQUENCE",
            "TCP_OFOMERGE",
            "TCP_RESET",
            "TCP_CLOSE",
            "TCP_ABORT_ON_DATA",
            "TCP_RFC7323_PAWS_ACK",
            "TCP_RFC7323_TW_PAWS",
        }
    ),
    "what a process left unread when it ended": frozenset(
        {"SOCKET_CLOSE", "QUEUE_PURGE", "UNIX_DISCONNECT", "UNIX_SKIP_OOB"}
    ),
    "another copy reached whom it was for": frozenset(
        {"SOCKET_FILTER", "PACKET_SOCK_ERROR", "TAP_FILTER", "DUP_FRAG"}
    ),
    "a frame for another host, which the switch sent everywhere": frozenset(
        {"OTHERHOST", "IPV6_NDISC_NS_OTHERHOST"}
    ),
}
"""Reasons that nobody is told of, by why not."""
SPECIAL = {
    "NO_SOCKET": KernelTelling.TOLD_BUT_PONG,  # with every answer that `ping` gets
    "NOT_SPECIFIED": KernelTelling.TOLD_ON_ITS_WAY,  # TCP's for an ACK after the end
}
"""Reasons that are ordinary in one case."""

_IGNORED = frozenset().union(*ORDINARY.values())


def short_names(enum: Mapping[int, str]) -> dict[int, str]:
    """Return the reasons that an event can name, without what all names begin with."""
    names = {
        number: name.removeprefix(PREFIX) for number, name in enum.items() if 0 < number < BEYOND
    }
    return names | {BEYOND: BEYOND_NAME}


def telling(names: Mapping[int, str]) -> bytes:
    """Return what the program does about each reason, as its section .rodata.kernel has it."""
    table = bytearray([KernelTelling.TOLD] * KERNEL_REASONS)
    table[0] = KernelTelling.IGNORED
    for number, name in names.items():
        if name in _IGNORED:
            table[number] = KernelTelling.IGNORED
        elif name in SPECIAL:
            table[number] = SPECIAL[name]
    return bytes(table)
