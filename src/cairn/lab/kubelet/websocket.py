"""WebSocket on the server's side: frames in and out, no I/O.

    octets received  ->  messages;  messages  ->  octets to send

Invariants  `receive` raises Malformed, and nothing else, on octets that are not WebSocket.
            Pings are answered and fragments joined here; a close is answered once.
Standards   RFC 6455, sections 4.2.2, 5 and 7
"""

import base64
import enum
import hashlib

from cairn.wire import Malformed, Reader, Writer

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
_SHORT, _MEDIUM = 126, 127


class Opcode(enum.IntEnum):
    """Kinds of frame."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


def accept_key(key: str) -> str:
    """Return the answer to a client's Sec-WebSocket-Key (RFC 6455 s4.2.2)."""
    digest = hashlib.sha1(key.strip().encode() + _MAGIC, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


class Connection:
    """The server's side of one connection, after the handshake."""

    def __init__(self) -> None:
        self.closed = False
        """Whether the peer has closed."""
        self._received = bytearray()
        self._message = bytearray()
        self._kind: int | None = None
        self._output = bytearray()
        self._consumed = 0
        self._close_sent = False

    def receive(self, data: bytes) -> list[bytes]:
        """Take octets and return the whole messages, text or binary; raises Malformed."""
        self._received += data
        messages: list[bytes] = []
        while (size := _frame_size(self._received)) is not None and not self.closed:
            if size > MAX_MESSAGE_BYTES:
                raise Malformed(f"frame of {size} octets", at=self._consumed)
            if len(self._received) < size:
                break
            frame = bytes(self._received[:size])
            del self._received[:size]
            messages += self._frame(Reader(frame, base=self._consumed))
            self._consumed += size
        return messages

    def output(self) -> bytes:
        """Return the octets to send and forget them."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def send(self, message: bytes) -> None:
        """Send one binary message."""
        self._write(Opcode.BINARY, message)

    def close(self, code: int = 1000) -> None:
        """Say that nothing more will come."""
        if not self._close_sent:
            self._close_sent = True
            self._write(Opcode.CLOSE, code.to_bytes(2, "big"))

    def _write(self, opcode: Opcode, payload: bytes) -> None:
        head = Writer().u8(0x80 | opcode)
        if len(payload) < _SHORT:
            head.u8(len(payload))
        elif len(payload) < 1 << 16:
            head.u8(_SHORT).u16(len(payload))
        else:
            head.u8(_MEDIUM).u64(len(payload))
        self._output += head.put(payload).done()

    def _frame(self, wire: Reader) -> list[bytes]:
        first, second = wire.u8(), wire.u8()
        if not second & 0x80:
            raise Malformed("frame of a client is not masked", at=wire.at - 1)
        length = second & 0x7F
        if length == _SHORT:
            wire.u16()
        elif length == _MEDIUM:
            wire.u64()
        mask = wire.take(4)
        payload = _unmask(wire.rest(), mask)
        return self._take(first & 0x0F, payload, final=bool(first & 0x80), at=wire.at)

    def _take(self, opcode: int, payload: bytes, *, final: bool, at: int) -> list[bytes]:
        match opcode:
            case Opcode.PING:
                self._write(Opcode.PONG, payload)
                return []
            case Opcode.PONG:
                return []
            case Opcode.CLOSE:
                self.closed = True
                self.close()
                return []
            case Opcode.TEXT | Opcode.BINARY:
                if self._kind is not None:
                    raise Malformed("new message before the end of the last", at=at)
                self._kind = opcode
            case Opcode.CONTINUATION:
                if self._kind is None:
                    raise Malformed("continuation of no message", at=at)
            case _:
                raise Malformed(f"opcode {opcode}", at=at)
        self._message += payload
        if len(self._message) > MAX_MESSAGE_BYTES:
            raise Malformed(f"message of over {MAX_MESSAGE_BYTES} octets", at=at)
        if not final:
            return []
        message = bytes(self._message)
        self._message.clear()
        self._kind = None
        return [message]


def _frame_size(data: bytearray) -> int | None:
    """Return how long the frame at the front is, or None while its head is not whole."""
    if len(data) < 2:
        return None
    length = data[1] & 0x7F
    extra = {_SHORT: 2, _MEDIUM: 8}.get(length, 0)
    if len(data) < 2 + extra:
        return None
    if extra:
        length = int.from_bytes(data[2 : 2 + extra], "big")
    masked = 4 if data[1] & 0x80 else 0
    return 2 + extra + masked + length


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
