"""Stable numbers for things that have only contents: the same on every node, after any restart.

    digest of a thing  ->  number in a range

A thing wants the number that its digest says, and if that is taken the next of its own sequence;
where two want the same, the one with the lesser digest has it. So who has which number depends only
on which things there are.

Invariants  The order in which things come and go does not matter.
Cost        one dictionary access each, as long as digests do not collide
"""

from hashlib import blake2b

DIGEST_BYTES = 16


def digest_of(text: str) -> bytes:
    """Return the digest that stands for a thing described by `text`."""
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


class Full(Exception):
    """More things than numbers."""


class Numbering:
    """Numbers from `first` on, `size` of them."""

    def __init__(self, first: int, size: int) -> None:
        self.first = first
        self.size = size
        self._holder: dict[int, bytes] = {}
        self._place: dict[bytes, tuple[int, int]] = {}
        self._turned_away: dict[int, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._place)

    def number(self, digest: bytes) -> int:
        """Return the number of a thing that has one."""
        return self._place[digest][0]

    def take(self, digest: bytes) -> dict[bytes, int]:
        """Give a thing a number; return every thing whose number is new, itself included."""
        if len(self._holder) >= self.size:
            raise Full(f"more than {self.size} things")
        changed: dict[bytes, int] = {}
        step = 0
        while True:
            number = self._wanted(digest, step)
            holder = self._holder.get(number)
            if holder is None or digest < holder:
                self._holder[number] = digest
                self._place[digest] = number, step
                changed[digest] = number
                if holder is None:
                    return changed
                digest, (_, step) = holder, self._place[holder]
            self._turned_away.setdefault(number, set()).add(digest)
            step += 1

    def give_back(self, digest: bytes) -> dict[bytes, int]:
        """Free a thing's number; return every other thing whose number is new."""
        again: dict[bytes, int] = {}
        freed = [self._leave(digest)]
        while freed:
            for other in self._turned_away.pop(freed.pop(), ()):
                if other not in again:
                    again[other] = self._place[other][0]
                    freed.append(self._leave(other))
        changed: dict[bytes, int] = {}
        for other in sorted(again):
            changed |= self.take(other)
        return {other: number for other, number in changed.items() if again.get(other) != number}

    def _leave(self, digest: bytes) -> int:
        number, steps = self._place.pop(digest)
        del self._holder[number]
        for step in range(steps):
            rejected = self._wanted(digest, step)
            if waiting := self._turned_away.get(rejected):
                waiting.discard(digest)
                if not waiting:
                    del self._turned_away[rejected]
        return number

    def _wanted(self, digest: bytes, step: int) -> int:
        if step:
            digest = blake2b(digest + step.to_bytes(4, "big"), digest_size=DIGEST_BYTES).digest()
        return self.first + int.from_bytes(digest[:8], "big") % self.size
