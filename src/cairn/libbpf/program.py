"""BPF programs that are loaded: what the kernel says of them, and trial runs.

    (program, packet)  ->  (return value, packet after, time per run)

Units       octets; nanoseconds end their names
Standards   linux/net/bpf/test_run.c
Not here    attaching (link.py)
"""

import ctypes
import os
import struct
from dataclasses import dataclass

from cairn.libbpf.syscall import Command, address, call_on, object_info

_INFO_BYTES = 232
_VERIFIED_AT = 216
_ROOM = 256
_SKB_CONTEXT = 192
_SKB_MARK_AT = 8
_SKB_INGRESS_IFINDEX_AT = 36
_SKB_IFINDEX_AT = 40
_RUN_ATTR_BYTES = 128
_LIVE_FRAMES = 2
_XDP_CONTEXT = 24
_XDP_END_AT, _XDP_IFINDEX_AT = 4, 12
_LIVE_BATCH = 64


@dataclass(frozen=True, slots=True)
class TrialRun:
    """What BPF_PROG_TEST_RUN gave back."""

    verdict: int
    """The program's return value, signed."""
    packet: bytes
    """The packet as the program left it."""
    duration_ns: int
    """Mean time of one run."""


class Program:
    """A loaded program; owns its descriptor."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def id(self) -> int:
        """The kernel's id."""
        return int(struct.unpack_from("<I", self._info(), 4)[0])

    @property
    def verified_instructions(self) -> int:
        """How many instructions the verifier processed."""
        return int(struct.unpack_from("<I", self._info(), _VERIFIED_AT)[0])

    def run_packet(
        self,
        packet: bytes,
        *,
        ifindex: int = 0,
        ingress_ifindex: int = 0,
        mark: int = 0,
        repeat: int = 1,
    ) -> TrialRun:
        """Run a tc program on `packet`, which must have at least 14 octets.

        `ifindex` is where it seems to be; it must exist in this thread's network namespace.
        `ingress_ifindex` is where it came from; 0: from a socket of this host. Effects on maps are
        real; redirects are not carried out.
        """
        context = bytearray(_SKB_CONTEXT)
        struct.pack_into("<I", context, _SKB_MARK_AT, mark)
        struct.pack_into("<I", context, _SKB_INGRESS_IFINDEX_AT, ingress_ifindex)
        struct.pack_into("<I", context, _SKB_IFINDEX_AT, ifindex)
        return self._run(packet, bytes(context) if ifindex else b"", repeat)

    def run_frame(self, frame: bytes, *, repeat: int = 1) -> TrialRun:
        """Run an XDP program on `frame`; a repeated run meets the frame as the last one left it."""
        return self._run(frame, b"", repeat)

    def send_frames(self, frame: bytes, *, ifindex: int, many: int) -> None:
        """Run an XDP program on `many` copies of `frame` that really go where it says.

        `ifindex`, of this thread's namespace, is where they seem to arrive. Returns when all are on
        their way.
        """
        packet_in = ctypes.create_string_buffer(frame, len(frame))
        context = bytearray(_XDP_CONTEXT)
        struct.pack_into("<I", context, _XDP_END_AT, len(frame))
        struct.pack_into("<I", context, _XDP_IFINDEX_AT, ifindex)
        context_in = ctypes.create_string_buffer(bytes(context), len(context))
        # as in _run(), then flags cpu batch_size
        attributes = ctypes.create_string_buffer(
            struct.pack(
                "<IIIIQQIIIIQQIII",
                self.fd,
                0,
                len(frame),
                0,
                address(packet_in),
                0,
                many,
                0,
                len(context),
                0,
                address(context_in),
                0,
                _LIVE_FRAMES,
                0,
                _LIVE_BATCH,
            ),
            _RUN_ATTR_BYTES,
        )
        call_on(Command.PROG_TEST_RUN, attributes, f"send frames by program {self.name}")

    def _run(self, packet: bytes, context: bytes, repeat: int) -> TrialRun:
        packet_in = ctypes.create_string_buffer(packet, len(packet))
        packet_out = ctypes.create_string_buffer(len(packet) + _ROOM)
        context_in = ctypes.create_string_buffer(context, max(1, len(context)))
        # prog_fd retval size_in size_out data_in data_out repeat duration ctx_in ctx_out ctx...
        attributes = ctypes.create_string_buffer(
            struct.pack(
                "<IIIIQQIIIIQQ",
                self.fd,
                0,
                len(packet),
                len(packet_out),
                address(packet_in),
                address(packet_out),
                repeat,
                0,
                len(context),
                0,
                address(context_in) if context else 0,
                0,
            ),
            _RUN_ATTR_BYTES,
        )
        call_on(Command.PROG_TEST_RUN, attributes, f"try program {self.name}")
        verdict, _, size_out = struct.unpack_from("<iII", attributes, 4)
        duration = struct.unpack_from("<I", attributes, 36)[0]
        return TrialRun(verdict, packet_out.raw[:size_out], duration)

    def _info(self) -> bytes:
        return object_info(self.fd, _INFO_BYTES, f"read info of program {self.name}")
