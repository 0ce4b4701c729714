"""SPDY/3.1 as kubectl speaks it for exec, attach and port-forward: one connection, no I/O.

    octets received  ->  events;  calls  ->  octets to send

Layout      control: 0x8003, type:u16, flags:u8, length:u24, body; data: 0|stream:u31, flags:u8,
            length:u24, octets.  Header blocks go through one zlib stream per direction, which
            begins with the standard's dictionary.
Invariants  `receive` raises Malformed, and nothing else, on octets that are not SPDY.
            Frames arrive whole: a frame in parts waits for its rest.
Standards   SPDY protocol draft 3.1, sections 2.2 to 2.6.  Flow control (2.6.8) is neither asked
            for nor heeded: Kubernetes' own library does the same, and stalls if one side does.
"""

import enum
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cairn.wire import Malformed, Reader, Writer

VERSION = 3
HEAD_BYTES = 8
MAX_HEADER_BYTES = 1 << 20
"""More than this in one header block, unpacked, is an attack rather than a request."""
MAX_DATA_BYTES = 1 << 16
"""Longest data frame that we send."""
FIN = 0x01


class Control(enum.IntEnum):
    """Types of control frame."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Reset(enum.IntEnum):
    """Why a stream is reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream."""

    stream: int
    """Its number."""
    headers: Mapping[str, str]
    """Names in lower case."""
    finished: bool
    """Whether the peer will send nothing on it."""


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Octets on a stream."""

    stream: int
    """Its number."""
    data: bytes
    """Maybe empty."""
    finished: bool
    """Whether these were the last."""


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave up a stream."""

    stream: int
    """Its number."""
    status: int
    """Why."""


@dataclass(frozen=True, slots=True)
class PeerGoesAway:
    """The peer will open no more streams."""


Event = StreamOpened | DataReceived | StreamReset | PeerGoesAway


class Connection:
    """One side of a SPDY connection; `client` says which."""

    def __init__(self, *, client: bool = False) -> None:
        self._received = bytearray()
        self._output = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._next_stream = 1 if client else 2
        self._consumed = 0

    def receive(self, data: bytes) -> list[Event]:
        """Take octets from the peer and return what they mean; raises Malformed."""
        self._received += data
        events: list[Event] = []
        while len(self._received) >= HEAD_BYTES:
            length = int.from_bytes(self._received[5:8], "big")
            if len(self._received) < HEAD_BYTES + length:
                break
            frame = bytes(self._received[: HEAD_BYTES + length])
            del self._received[: HEAD_BYTES + length]
            events += self._frame(Reader(frame, base=self._consumed))
            self._consumed += len(frame)
        return events

    def output(self) -> bytes:
        """Return the octets to send and forget them."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def open(self, headers: Mapping[str, str]) -> int:
        """Open a stream and return its number."""
        stream = self._next_stream
        self._next_stream += 2
        body = Writer().u32(stream).u32(0).u16(0).put(self._pack(headers)).done()
        self._control(Control.SYN_STREAM, body)
        return stream

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> None:
        """Accept a stream that the peer opened."""
        body = Writer().u32(stream).put(self._pack(headers or {})).done()
        self._control(Control.SYN_REPLY, body)

    def send(self, stream: int, data: bytes, *, finish: bool = False) -> None:
        """Send octets on a stream; with `finish`, they are the last."""
        view = memoryview(data)
        pieces = [view[at : at + MAX_DATA_BYTES] for at in range(0, len(view), MAX_DATA_BYTES)]
        for index, piece in enumerate(pieces or [view]):
            last = finish and index >= len(pieces) - 1
            head = Writer().u32(stream).u8(FIN if last else 0)
            self._output += head.put(len(piece).to_bytes(3, "big")).done()
            self._output += piece

    def reset(self, stream: int, status: Reset) -> None:
        """Give up a stream."""
        self._control(Control.RST_STREAM, Writer().u32(stream).u32(status).done())

    def ping(self, number: int) -> None:
        """Ask for a sign of life, or answer one."""
        self._control(Control.PING, Writer().u32(number).done())

    def go_away(self) -> None:
        """Say that no more streams will be opened."""
        self._control(Control.GOAWAY, Writer().u32(0).u32(0).done())

    def _control(self, kind: Control, body: bytes, flags: int = 0) -> None:
        head = Writer().u16(0x8000 | VERSION).u16(kind).u8(flags)
        self._output += head.put(len(body).to_bytes(3, "big")).put(body).done()

    def _frame(self, wire: Reader) -> Iterable[Event]:
        first = wire.u32()
        flags = wire.u8()
        wire.take(3)
        if not first & 0x80000000:
            return [DataReceived(first, wire.rest(), bool(flags & FIN))]
        version = first >> 16 & 0x7FFF
        if version != VERSION:
            raise Malformed(f"SPDY version {version}, expected {VERSION}", at=wire.at - HEAD_BYTES)
        return self._control_frame(first & 0xFFFF, flags, wire)

    def _control_frame(self, kind: int, flags: int, wire: Reader) -> Iterable[Event]:
        match kind:
            case Control.SYN_STREAM:
                stream = wire.u32() & 0x7FFFFFFF
                wire.take(6)
                yield StreamOpened(stream, self._unpack(wire), bool(flags & FIN))
            case Control.SYN_REPLY | Control.HEADERS:
                stream = wire.u32() & 0x7FFFFFFF
                self._unpack(wire)  # the packing is one stream: no block may be left out
                if flags & FIN:
                    yield DataReceived(stream, b"", True)
            case Control.RST_STREAM:
                yield StreamReset(wire.u32() & 0x7FFFFFFF, wire.u32())
            case Control.PING:
                number = wire.u32()
                if number % 2 != self._next_stream % 2:  # the peer's own: answer it
                    self.ping(number)
            case Control.GOAWAY:
                yield PeerGoesAway()
            case _:  # SETTINGS, WINDOW_UPDATE and unknown types ask for nothing (s2.2.1)
                pass

    def _pack(self, headers: Mapping[str, str]) -> bytes:
        block = Writer().u32(len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                block.u32(len(text)).put(text)
        return self._deflate.compress(block.done()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def _unpack(self, wire: Reader) -> dict[str, str]:
        at = wire.at
        try:
            block = self._inflate.decompress(wire.rest(), MAX_HEADER_BYTES)
        except zlib.error as error:
            raise Malformed(f"header block: {error}", at=at) from error
        if self._inflate.unconsumed_tail:
            raise Malformed(f"header block of over {MAX_HEADER_BYTES} octets", at=at)
        return _read_headers(Reader(block, base=at))


def _read_headers(block: Reader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(block.u32()):
        name = block.take(block.u32()).decode("latin-1").lower()
        value = block.take(block.u32()).decode("latin-1")
        headers[name] = value.replace("\0", ", ")
    return headers


_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base "
    "content-encoding content-language content-length content-location content-md5 "
    "content-range content-type date etag expect expires from host if-match if-modified-since "
    "if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status"
)
_PAIRS = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,"
    "deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(len(word).to_bytes(4, "big") + word.encode() for word in (*_WORDS.split(), *_PAIRS))
    + _REST.encode()
)
"""What header blocks are packed against (s2.6.10.1)."""
