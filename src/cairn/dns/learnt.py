"""What names resolved to: addresses, for how long, and the selectors that they belong to.

    learn(name, addresses, until), select(selectors)  ->  changes(): address -> selectors
    due(now)  ->  keep(address), forget(address)

Names that no selector wants are kept as well, so that one that comes later finds them.

Shapes      an address: 16 octets, IPv4 mapped
Invariants  `changes` and `news` drain; `changes` names every address whose selectors differ from
            what it said last.
            At most `capacity` pairs of name and address are held. When there are more, one goes of
            him who has learnt most: the next to expire, of names without a selector first.
            An address has at most MOST_SELECTORS; over that those of the names that expire first
            are left out, and `overflows` counts it.
Standards   RFC 2181 s8 (TTL)
Units       times in seconds of the driver's clock
"""

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from cairn.abi.policy import NAME_PAGES, NAME_SELECTORS
from cairn.dns.pattern import Selection

MOST_SELECTORS = NAME_PAGES * NAME_SELECTORS
STEP_S = 5.0
"""A time that grows by less is not told again; the grace makes up for it."""
_Due = tuple[float, bytes, str]
UNKNOWN = (0,)
"""Selectors that no address has: what the data plane holds is not known."""
ADOPTED = " "
"""First character of the stand-in for a name that is not known: no name as text has a space."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long an address is kept."""

    least_ttl_s: float = 60.0
    """TTLs below count as this: few programs ask again at once."""
    most_ttl_s: float = 86400.0
    """TTLs above count as this."""
    grace_s: float = 60.0
    """Longer than the TTL, for who resolved the name and connects late."""

    def until(self, ttl_s: float, now: float) -> float:
        """Return when an answer of this TTL is forgotten."""
        return now + min(max(ttl_s, self.least_ttl_s), self.most_ttl_s) + self.grace_s


@dataclass(frozen=True, slots=True)
class Lease:
    """Addresses of one name."""

    name: str
    """As text, folded."""
    addresses: tuple[bytes, ...]
    """16 octets each."""
    until: float
    """When they are forgotten."""
    selectors: tuple[int, ...] = ()
    """That the name belongs to."""


@dataclass(slots=True)
class _Pair:
    until: float
    owner: str


@dataclass(slots=True)
class _Share:
    """What one owner has learnt: how much, and what is to expire when.

    `heaps`: of names without a selector, and of the others. Every pair that is not due just now
    stands on one of them, with a time that may since have been put off.
    """

    pairs: int = 0
    heaps: tuple[list[_Due], list[_Due]] = field(default_factory=lambda: ([], []))


class Names:
    """The table of what was learnt."""

    def __init__(self, capacity: int = 65536) -> None:
        self._capacity = capacity
        self._chosen: frozenset[tuple[str, str, int]] = frozenset()
        self._selection = Selection(())
        self._selectors: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, set[bytes]] = {}
        self._names: dict[bytes, dict[str, _Pair]] = {}
        self._shares: dict[str, _Share] = {}
        self._said: dict[bytes, tuple[int, ...]] = {}
        self._dirty: set[bytes] = set()
        self._news: list[Lease] = []
        self._pairs = 0
        self.overflows = 0
        """How often an address had more selectors than the data plane holds."""
        self.evicted = 0
        """Pairs that went for lack of room."""

    def __len__(self) -> int:
        return self._pairs

    def select(self, selectors: Iterable[tuple[str, str, int]]) -> None:
        """Take the selectors: triples (name, pattern, identity)."""
        chosen = frozenset(selectors)
        if chosen == self._chosen:
            return
        identities = {identity for _, _, identity in chosen}
        changed = {identity for _, _, identity in chosen ^ self._chosen}
        kept = identities - changed
        added = Selection(one for one in chosen if one[2] in changed)
        self._chosen, self._selection = chosen, Selection(chosen)
        for name, old in self._selectors.items():
            if name[:1] == ADOPTED:
                new = tuple(identity for identity in old if identity in identities)
            else:
                new = tuple(sorted({*kept.intersection(old), *added.of(name)}))
            if new != old:
                self._selectors[name] = new
                self._dirty |= self._addresses[name]
        self._rebuild()

    def learn(
        self, name: str, addresses: Collection[bytes], until: float, *, owner: str = ""
    ) -> int:
        """Take what a name resolves to; return how many addresses are new or kept longer.

        `owner`: who asked, and so takes the room.
        """
        if not addresses:
            return 0
        held = self._addresses.get(name)
        if held is None:
            held = self._addresses[name] = set()
            self._selectors.setdefault(name, self._selection.of(name))
        fresh = []
        for address in addresses:
            names = self._names.setdefault(address, {})
            pair = names.get(name)
            if pair is None:
                pair = names[name] = _Pair(until, owner)
                self._pairs += 1
                self._shares.setdefault(owner, _Share()).pairs += 1
                self._dirty.add(address)
                held.add(address)
                self._push(address, name, pair)
                fresh.append(address)
            elif until > pair.until + STEP_S:
                pair.until = until
                fresh.append(address)
        while self._pairs > self._capacity and self._evict():
            self.evicted += 1
        if fresh:
            self._news.append(Lease(name, tuple(fresh), until))
        return len(fresh)

    def news(self) -> list[Lease]:
        """Return what was learnt since the last call: what is to outlive this process."""
        news, self._news = self._news, []
        return news

    def adopt(self, written: Mapping[bytes, tuple[int, ...]], until: float) -> int:
        """Take what the data plane holds; return how many addresses have selectors of names that
        nobody remembers. They keep these until `until`."""
        unknown = 0
        self._said.clear()
        self._dirty.update(self._names)
        for address, selectors in written.items():
            self._said[address] = selectors
            self._dirty.add(address)
            known: set[int] = set()
            for name in self._names.get(address, ()):
                known.update(self._selectors[name])
            rest = tuple(identity for identity in selectors if identity not in known)
            if rest:
                unknown += 1
                name = ADOPTED + address.hex()
                self._selectors[name] = rest
                self.learn(name, (address,), until)
        return unknown

    def changes(self) -> dict[bytes, tuple[int, ...]]:
        """Return the selectors of each address where they changed; () where it is to go."""
        if not self._dirty:
            return {}
        changed = {}
        for address in self._dirty:
            selectors = self._selectors_of(address)
            if selectors != self._said.get(address, ()):
                changed[address] = selectors
        self._dirty.clear()
        for address, selectors in changed.items():
            if selectors:
                self._said[address] = selectors
            else:
                self._said.pop(address, None)
        return changed

    def unsaid(self, addresses: Collection[bytes]) -> None:
        """Take back that addresses were written, so that `changes` names them again."""
        self._said.update(dict.fromkeys(addresses, UNKNOWN))
        self._dirty.update(addresses)

    def next_due(self) -> float | None:
        """Return when `due` has something to say at the earliest; None: nothing is held."""
        heaps = (heap for share in self._shares.values() for heap in share.heaps)
        return min((heap[0][0] for heap in heaps if heap), default=None)

    def due(self, now: float, most: int = 4096) -> dict[bytes, set[str]]:
        """Return addresses with the names whose time has passed, and think of them no more:
        each is to be given to `keep` or `forget`."""
        found: dict[bytes, set[str]] = {}
        for share in self._shares.values():
            for heap in share.heaps:
                while heap and heap[0][0] <= now and len(found) < most:
                    _, address, name = heapq.heappop(heap)
                    pair = self._names.get(address, {}).get(name)
                    if pair is None:
                        continue
                    if pair.until > now:
                        heapq.heappush(heap, (pair.until, address, name))
                    else:
                        found.setdefault(address, set()).add(name)
        return found

    def keep(self, address: bytes, names: Iterable[str], until: float) -> None:
        """Keep what was due: a connection lives."""
        for name in names:
            pair = self._names.get(address, {}).get(name)
            if pair is not None:
                pair.until = max(pair.until, until)
                self._push(address, name, pair)

    def forget(self, address: bytes, names: Iterable[str], now: float) -> int:
        """Forget what was due, unless it was learnt again meanwhile; return how much went."""
        gone = 0
        for name in names:
            pair = self._names.get(address, {}).get(name)
            if pair is not None and pair.until > now:
                self._push(address, name, pair)
            elif pair is not None:
                self._remove(address, name)
                gone += 1
        return gone

    def leases(self) -> Iterable[Lease]:
        """Yield all that is held."""
        for address, names in self._names.items():
            for name, pair in names.items():
                yield Lease(name, (address,), pair.until, self._selectors[name])

    def _selectors_of(self, address: bytes) -> tuple[int, ...]:
        """Return the selectors in the order in which they stood, new ones behind."""
        names = self._names.get(address)
        if not names:
            return ()
        wanted = dict.fromkeys(
            identity
            for name in sorted(names, key=lambda name: (-names[name].until, name))
            for identity in self._selectors[name]
        )
        if len(wanted) > MOST_SELECTORS:
            self.overflows += 1
            wanted = dict.fromkeys(list(wanted)[:MOST_SELECTORS])
        stood = [identity for identity in self._said.get(address, ()) if identity in wanted]
        return tuple(dict.fromkeys((*stood, *wanted)))

    def _push(self, address: bytes, name: str, pair: _Pair) -> None:
        heap = self._shares[pair.owner].heaps[bool(self._selectors[name])]
        heapq.heappush(heap, (pair.until, address, name))

    def _evict(self) -> bool:
        """Make room for one; return whether there was one to go."""
        share = max(self._shares.values(), key=lambda share: share.pairs)
        for heap in share.heaps:
            while heap:
                until, address, name = heapq.heappop(heap)
                pair = self._names.get(address, {}).get(name)
                if pair is not None and pair.until <= until:
                    self._remove(address, name)
                    return True
                if pair is not None:
                    heapq.heappush(heap, (pair.until, address, name))
        return False  # all the others are due just now

    def _remove(self, address: bytes, name: str) -> None:
        names = self._names[address]
        owner = names.pop(name).owner
        self._pairs -= 1
        self._shares[owner].pairs -= 1
        if not self._shares[owner].pairs:
            del self._shares[owner]
        self._dirty.add(address)
        if not names:
            del self._names[address]
        held = self._addresses[name]
        held.discard(address)
        if not held:
            del self._addresses[name]
            del self._selectors[name]

    def _rebuild(self) -> None:
        """Put each pair on the heap that fits its name's selectors now."""
        for share in self._shares.values():
            for heap in share.heaps:
                heap.clear()
        for address, names in self._names.items():
            for name, pair in names.items():
                self._push(address, name, pair)
