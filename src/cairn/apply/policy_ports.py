"""Tables of verdicts in the data plane, by number.

    EncodedTable  ->  number;  map `policy_ports`

Invariants  A table is written once and never changed; equal content is one table, also over
            restarts: the map is the record.
            A number is not given again before all others were: a program may just be reading it.
            A table without users stays until `tidy`.
Cost        about 200 octets of memory for a table, and 8 for each of its entries
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from cairn.abi.structs import PolicyVerdict
from cairn.apply.map_batch import remove_entries, write_entries
from cairn.apply.policy_rules import Uses
from cairn.apply.policy_table import EncodedTable, digest
from cairn.libbpf import Map

_NUMBER = slice(0, 4)
_KEY_OCTETS = 8
_BITS = 0xFFFFFFFF


@dataclass(slots=True)
class _Held:
    """One table of the map."""

    digest: bytes
    keys: bytes
    rules: tuple[int, ...]
    proxies: tuple[int, ...]
    users: int = 0


class PortTables:
    """Which tables there are, who uses them, and what is to be written."""

    def __init__(self, table: Map, rules: Uses, proxies: Uses) -> None:
        self._map = table
        self._rules = rules
        self._proxies = proxies
        self._held: dict[int, _Held] = {}
        self._numbers: dict[bytes, int] = {}
        self._pending: dict[bytes, bytes] = {}
        self._new: set[int] = set()
        self._idle: set[int] = set()
        found: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        for key, value in table.items():
            found[int.from_bytes(key[_NUMBER], "little")][key[4:]] = value
        for number, ports in found.items():
            content = digest(ports)
            # Of two with the same content one is enough: the other will have no users.
            self._numbers.setdefault(content, number)
            self._take(number, content, ports)
        self._last = max(found, default=0)

    def number(self, encoded: EncodedTable) -> int:
        """Return the number of a table, which `write` makes real; 0 for one without ports."""
        if not encoded.ports:
            return 0
        number = self._numbers.get(encoded.digest)
        if number is None:
            number = self._next()
            self._numbers[encoded.digest] = number
            self._take(number, encoded.digest, dict(encoded.ports))
            prefix = number.to_bytes(4, "little")
            self._pending.update((prefix + key, value) for key, value in encoded.ports.items())
            self._new.add(number)
        return number

    def write(self) -> dict[int, str]:
        """Write the tables that are new; return those that could not be, which are gone again."""
        failed = write_entries(self._map, self._pending)
        self._pending, self._new = {}, set()
        wrong = {int.from_bytes(key[_NUMBER], "little"): text for key, text in failed.items()}
        self._remove(wrong)
        return wrong

    def use(self, number: int) -> None:
        """Note one more user of a table."""
        if number:
            self._held[number].users += 1
            self._idle.discard(number)

    def drop(self, number: int) -> None:
        """Note one user less."""
        held = self._held.get(number)
        if held is not None:
            held.users -= 1
            if held.users <= 0:
                self._idle.add(number)

    @property
    def idle(self) -> frozenset[int]:
        """The tables that nobody uses."""
        return frozenset(self._idle - self._new)

    def tidy(self) -> str:
        """Remove the tables that nobody uses; return what went wrong."""
        return self._remove(self.idle)

    def _take(self, number: int, content: bytes, ports: dict[bytes, bytes]) -> None:
        prefix = number.to_bytes(4, "little")
        verdicts = [PolicyVerdict.read(value) for value in set(ports.values())]
        held = self._held[number] = _Held(
            content,
            b"".join(prefix + key for key in ports),
            tuple({n for v in verdicts for n in (v.rule, v.audit_rule) if n}),
            tuple({v.proxy for v in verdicts if v.proxy}),
        )
        self._rules.add(held.rules)
        self._proxies.add(held.proxies)
        self._idle.add(number)

    def _next(self) -> int:
        self._last = (self._last + 1) & _BITS
        while not self._last or self._last in self._held:
            self._last = (self._last + 1) & _BITS
        return self._last

    def _remove(self, numbers: Iterable[int]) -> str:
        keys: list[bytes] = []
        for number in tuple(numbers):
            held = self._held.pop(number)
            self._idle.discard(number)
            self._rules.drop(held.rules)
            self._proxies.drop(held.proxies)
            if self._numbers.get(held.digest) == number:
                del self._numbers[held.digest]
            keys += (held.keys[i : i + _KEY_OCTETS] for i in range(0, len(held.keys), _KEY_OCTETS))
        return remove_entries(self._map, keys)
