"""An append-only buffer of octets in network order.

    integers, bytes  ->  bytes

Invariants  A number that does not fit its width is our own mistake and raises OverflowError.
"""


class Writer:
    """Collects octets; every method returns the writer, so that a layout reads as one line."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def u8(self, value: int) -> "Writer":
        """Append one octet."""
        self._buffer += value.to_bytes(1, "big")
        return self

    def u16(self, value: int) -> "Writer":
        """Append two octets."""
        self._buffer += value.to_bytes(2, "big")
        return self

    def u32(self, value: int) -> "Writer":
        """Append four octets."""
        self._buffer += value.to_bytes(4, "big")
        return self

    def u64(self, value: int) -> "Writer":
        """Append eight octets."""
        self._buffer += value.to_bytes(8, "big")
        return self

    def put(self, octets: bytes) -> "Writer":
        """Append `octets` as they are."""
        self._buffer += octets
        return self

    def done(self) -> bytes:
        """Return what was collected."""
        return bytes(self._buffer)
