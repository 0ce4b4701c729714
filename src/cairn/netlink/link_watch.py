"""Hear of it when an interface changes: its state, its MTU, its addresses.

    the kernel's announcements  ->  a call for each change of the interface of that name

Invariants  An announcement that is lost, since the kernel drops what is not read in time, counts as
            a change. An interface that comes back under its name is heard of, whatever its index.
Standards   rtnetlink(7), netlink(7)
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable

from cairn.netlink.link import IFLA_IFNAME, LINK
from cairn.netlink.message import Kind, read_attributes, read_messages

RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_RECEIVE_BYTES = 1 << 16
_IFINDEX = struct.Struct("=4xi")
"""In struct ifinfomsg and struct ifaddrmsg alike."""


async def watch_interface(name: str, changed: Callable[[], None]) -> None:
    """Call `changed` whenever the interface does, until cancelled.

    It is called once at the start: what happened before is not announced.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as heard:
        heard.setblocking(False)
        heard.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        index = _index(name)
        changed()
        while True:
            try:
                data = await asyncio.get_running_loop().sock_recv(heard, _RECEIVE_BYTES)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                index = _index(name)
                changed()
                continue
            before, index = index, _follow(data, name, index)
            if before != index or _concerns(data, index):
                changed()


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _follow(data: bytes, name: str, index: int) -> int:
    """Return the index of the interface after these announcements."""
    for message in read_messages(data):
        if message.kind == Kind.NEW_LINK:
            attributes = read_attributes(message.payload[LINK.size :])
            if attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode() == name:
                index = _IFINDEX.unpack_from(message.payload)[0]
    return index


def _concerns(data: bytes, index: int) -> bool:
    return any(_IFINDEX.unpack_from(m.payload)[0] == index for m in read_messages(data))
