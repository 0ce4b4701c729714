"""DNS names by which pods of this node learnt addresses.

    answers that the DNS proxy let go  ->  address  ->  names

Invariants  At most MOST addresses, each with at most MOST_NAMES names: what was learnt longest ago
            is forgotten first.
"""

from collections.abc import Iterable

from cairn.net import Address

MOST = 8192
MOST_NAMES = 8


class LearntNames:
    """Names of addresses, the latest first."""

    def __init__(self) -> None:
        self._names: dict[Address, tuple[str, ...]] = {}

    def learn(self, name: str, addresses: Iterable[Address]) -> None:
        """Take note of an answer."""
        for address in addresses:
            before = self._names.pop(address, ())
            others = (other for other in before if other != name)
            self._names[address] = (name, *others)[:MOST_NAMES]
        while len(self._names) > MOST:
            del self._names[next(iter(self._names))]

    def of(self, address: Address) -> tuple[str, ...]:
        """Return the names of an address, sorted."""
        return tuple(sorted(self._names.get(address, ())))
