"""Ranges of ports as prefixes, which is how the data plane looks them up.

    80..83  ->  (14, 80)

Invariants  The prefixes of a range are disjoint, sorted, and hold exactly its ports.
Cost        at most 30 prefixes a range
Units       (bits, port): ports whose `bits` highest bits are those of `port`; the other bits of
            `port` are 0
"""

from collections.abc import Iterator

PORT_BITS = 16


def port_prefixes(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the fewest prefixes that together hold the ports `first` to `last`."""
    while first <= last:
        free = (first & -first).bit_length() - 1 if first else PORT_BITS
        free = min(free, (last - first + 1).bit_length() - 1)
        yield PORT_BITS - free, first
        first += 1 << free
