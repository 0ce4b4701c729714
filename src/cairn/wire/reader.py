"""A cursor over octets that cannot run past their end.

    bytes  ->  integers in network order, slices, sub-readers

Invariants  `at` counts from the start of the outermost buffer, so that an error in a nested
            field names the octet of the message, not of the field.
"""

from cairn.wire.malformed import Malformed


class Reader:
    """Reads `data` from front to back; every method raises Malformed when octets run out."""

    __slots__ = ("_base", "_data", "_end", "_pos")

    def __init__(self, data: bytes | memoryview, *, base: int = 0) -> None:
        self._data = memoryview(data)
        self._pos = 0
        self._end = len(self._data)
        self._base = base

    @property
    def at(self) -> int:
        """Offset of the next octet in the outermost buffer."""
        return self._base + self._pos

    @property
    def left(self) -> int:
        """Octets not read yet."""
        return self._end - self._pos

    def __bool__(self) -> bool:
        return self._pos < self._end

    def u8(self) -> int:
        """Return the next octet."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Return the next two octets as a number."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Return the next four octets as a number."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """Return the next eight octets as a number."""
        return int.from_bytes(self.take(8), "big")

    def take(self, count: int) -> bytes:
        """Return the next `count` octets."""
        return bytes(self._advance(count))

    def rest(self) -> bytes:
        """Return all octets that are left."""
        return self.take(self.left)

    def sub(self, count: int) -> "Reader":
        """Return a reader over the next `count` octets; this one moves past them."""
        base = self.at
        return Reader(self._advance(count), base=base)

    def _advance(self, count: int) -> memoryview:
        if count > self.left:
            raise Malformed(f"{count} octets wanted, {self.left} left", at=self.at)
        start = self._pos
        self._pos += count
        return self._data[start : self._pos]
