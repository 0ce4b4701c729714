"""Numbers by which the data plane names the rules of policies, and their counters.

    RuleRef  <->  number;  map `policy_rules`

Invariants  A number is derived from the rule's name, so that drops, counters and connections mean
            the same rule over restarts; 0 is none. Two rules whose numbers collide are told apart
            by what stands in the record, else by who came first.
            Counters stay while any entry of the maps names their rule.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from hashlib import blake2b

from cairn.abi.structs import RuleCounters
from cairn.apply.map_batch import remove_entries, write_entries
from cairn.kube.policy.rule import RuleRef
from cairn.libbpf import Map

_BITS = 0xFFFFFFFF
_NO_COUNT = RuleCounters(0, 0, 0).write()


class RuleNumbers:
    """Who has which number."""

    def __init__(self, known: Mapping[int, RuleRef]) -> None:
        self._refs = dict(known)
        self._numbers = {ref: number for number, ref in known.items()}
        self.changed = True
        """Whether there are numbers that the record does not have; reset by who writes it."""

    def number(self, ref: RuleRef) -> int:
        """Return the number of a rule, given now if it had none."""
        number = self._numbers.get(ref)
        if number is None:
            number = _derived(ref)
            while number == 0 or number in self._refs:
                number = (number + 1) & _BITS
            self._numbers[ref] = number
            self._refs[number] = ref
            self.changed = True
        return number

    def ref(self, number: int) -> RuleRef | None:
        """Return the rule of a number; None if nobody has it."""
        return self._refs.get(number)

    def refs(self) -> dict[int, RuleRef]:
        """Return every number and whose it is."""
        return dict(self._refs)

    def keep(self, numbers: Iterable[int]) -> None:
        """Forget every number but these."""
        kept = {number: self._refs[number] for number in numbers if number in self._refs}
        self.changed |= len(kept) != len(self._refs)
        self._refs = kept
        self._numbers = {ref: number for number, ref in kept.items()}


class Uses:
    """How many entries of the maps name each number; 0 is nobody's."""

    def __init__(self) -> None:
        self.fresh: set[int] = set()
        """Numbers that are named since somebody emptied this."""
        self._counts: Counter[int] = Counter()

    @property
    def numbers(self) -> Set[int]:
        """The numbers that are named."""
        return self._counts.keys()

    def add(self, numbers: Iterable[int]) -> None:
        """Note one more entry that names each of these."""
        for number in numbers:
            if number:
                self._counts[number] += 1
                if self._counts[number] == 1:
                    self.fresh.add(number)

    def drop(self, numbers: Iterable[int]) -> None:
        """Note one entry less."""
        for number in numbers:
            if self._counts[number] > 1:
                self._counts[number] -= 1
            else:
                del self._counts[number]


class RuleMap:
    """The counters of the rules that entries of the maps name."""

    def __init__(self, table: Map) -> None:
        self.uses = Uses()
        """Which rules are named."""
        self._table = table
        self._held = {_number(key) for key, _ in table.items()}

    def write(self) -> list[str]:
        """Have counters for the rules that are named; return what failed: it costs no packet."""
        new, self.uses.fresh = self.uses.fresh - self._held, set()
        failed = write_entries(self._table, {_key(number): _NO_COUNT for number in new})
        self._held |= new - {_number(key) for key in failed}
        return [f"rule {_number(key)} is not counted: {text}" for key, text in failed.items()]

    def tidy(self) -> str:
        """Remove the counters that nobody names; return what went wrong."""
        unused = self._held - self.uses.numbers
        self._held -= unused
        return remove_entries(self._table, map(_key, unused))


def _derived(ref: RuleRef) -> int:
    text = "\0".join((*ref.policy, ref.path))
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")


def _key(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _number(key: bytes) -> int:
    return int.from_bytes(key, "little")
