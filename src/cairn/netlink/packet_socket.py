"""Frames of one interface: sent as they are, and those that claim an address heard.

    interface  ->  FrameSocket  <->  whole Ethernet frames;  Groups

One socket per Ethernet type, because a socket for all types is shown every packet that passes,
both ways. What a tcx program answers or sends on before the stack sees it is not heard here.

Invariants  A socket belongs to the namespace of the thread that made it. Only frames that came in
            from the segment are heard, never our own.
Cost        Of IPv6 a filter in the kernel lets neighbour advertisements alone up.
Standards   packet(7), netdevice(7), linux/Documentation/networking/filter.rst, RFC 4861 s4.4
"""

import array
import contextlib
import errno
import fcntl
import socket
import struct
from collections.abc import Iterator

ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD
SO_ATTACH_FILTER = 26
SIOCADDMULTI, SIOCDELMULTI = 0x8931, 0x8932
LONGEST_BYTES = 1600
MOST_PER_WAKE = 256
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")
_INTERFACE_REQUEST = struct.Struct("=16sH6s16x")
_LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x30, 0x15, 0x06
_NEXT_HEADER_AT, _ICMP_TYPE_AT = 20, 54
_ICMP6, _ADVERTISEMENT = 58, 136
_ADVERTISEMENTS = (
    (_LOAD_BYTE, 0, 0, _NEXT_HEADER_AT),
    (_JUMP_EQUAL, 0, 3, _ICMP6),
    (_LOAD_BYTE, 0, 0, _ICMP_TYPE_AT),
    (_JUMP_EQUAL, 0, 1, _ADVERTISEMENT),
    (_RETURN, 0, 0, 0xFFFF),
    (_RETURN, 0, 0, 0),
)


class FrameSocket:
    """Hears and sends frames on one interface."""

    def __init__(self, interface: str) -> None:
        """Open the sockets in the calling thread's namespace; raises OSError."""
        self._sockets: list[socket.socket] = []
        try:
            self._sockets.append(_open(interface, ETH_P_ARP))
            self._sockets.append(_open(interface, ETH_P_IPV6))
        except OSError:
            self.close()
            raise

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to wait on for frames."""
        return tuple(sock.fileno() for sock in self._sockets)

    def send(self, frame: bytes) -> None:
        """Send one frame; raises OSError."""
        self._sockets[0].send(frame)

    def receive(self) -> Iterator[bytes]:
        """Yield the frames that wait; raises OSError if the interface has gone."""
        for sock in self._sockets:
            for _ in range(MOST_PER_WAKE):
                try:
                    frame, source = sock.recvfrom(LONGEST_BYTES)
                except (BlockingIOError, InterruptedError):
                    break
                if source[2] != socket.PACKET_OUTGOING:
                    yield frame

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._sockets:
            sock.close()


class Groups:
    """Membership of an interface in IPv6 groups.

    Leaving is announced when this object goes (MLD), but the interface keeps taking the groups'
    frames: whoever answers in our place meanwhile, as programs in the kernel do, still sees them.
    """

    def __init__(self, interface: str, ifindex: int) -> None:
        self._interface = interface
        self._ifindex = ifindex
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError):  # without IPv6 there is nothing to join either
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._joined: frozenset[bytes] = frozenset()

    def join_exactly(self, groups: frozenset[bytes]) -> list[str]:
        """Join these groups, of 16 octets each, and leave all others; return what failed."""
        failed = []
        for group in self._joined - groups:
            self._change(socket.IPV6_LEAVE_GROUP, group)
            self._filter(SIOCDELMULTI, group)
        joined = self._joined & groups
        for group in groups - self._joined:
            why = self._change(socket.IPV6_JOIN_GROUP, group) or self._filter(SIOCADDMULTI, group)
            if why:
                failed.append(f"group {socket.inet_ntop(socket.AF_INET6, group)}: {why}")
            else:
                joined |= {group}
        self._joined = joined
        return failed

    def close(self) -> None:
        """Leave every group, as far as the network is concerned."""
        if self._socket is not None:
            self._socket.close()

    def _change(self, option: int, group: bytes) -> str:
        if self._socket is None:
            return "the kernel has no IPv6"
        try:
            request = group + struct.pack("@I", self._ifindex)
            self._socket.setsockopt(socket.IPPROTO_IPV6, option, request)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _filter(self, operation: int, group: bytes) -> str:
        """Have the interface itself take the group's frames, or no longer (RFC 2464 s7)."""
        if self._socket is None:
            return ""
        request = _INTERFACE_REQUEST.pack(self._interface.encode(), 0, b"\x33\x33" + group[12:])
        try:
            fcntl.ioctl(self._socket, operation, request)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOENT):  # as it should be already
                return error.strerror or str(error)
        return ""


def _open(interface: str, ethertype: int) -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    sock = socket.socket(socket.AF_PACKET, kind, 0)  # hears nothing until it is bound
    try:
        if ethertype == ETH_P_IPV6:
            _attach_filter(sock)
        sock.bind((interface, ethertype))
    except OSError:
        sock.close()
        raise
    return sock


def _attach_filter(sock: socket.socket) -> None:
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in _ADVERTISEMENTS)
    memory = array.array("B", code)
    address, _ = memory.buffer_info()
    program = _PROGRAM.pack(len(_ADVERTISEMENTS), address)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
