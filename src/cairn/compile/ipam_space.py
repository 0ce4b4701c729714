"""The addresses of all pools, who holds which, and the lowest free one.

    Pools  ->  AddressSpace  ->  claim, release, free

Shapes      an address is a slot (version, number)
Invariants  A slot is held by nobody, by one Service, or by Services that may share it.
            Cursors only move up, so that addressing n Services costs about n steps, not n²,
            and a block costs nothing for being large.
Not here    Who deserves which address (ipam.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cairn.compile.ipam_proof import Proof
from cairn.kube.load_balancer import LoadBalancer
from cairn.kube.pool import Block, Pool
from cairn.net import Address, parse_address

Slot = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Overlap:
    """A pool that lies upon an older one."""

    block: Block
    """The later pool's block."""
    other: str
    """Name of the older pool."""
    other_block: Block
    """The older pool's block."""


def slot_of(address: Address) -> Slot:
    """Return an address as version and number."""
    return address.version, int(address)


def spell(slot: Slot) -> str:
    """Return a slot as text."""
    version, value = slot
    if version == 4:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
    return str(parse_address("::").__class__(value))


def find_overlaps(pools: Sequence[Pool]) -> dict[str, Overlap]:
    """Return the pools that overlap an older enabled one; `pools` are in order of age."""
    overlaps: dict[str, Overlap] = {}
    settled: list[tuple[Block, str]] = []
    for pool in pools:
        if pool.disabled:
            continue
        found = next(
            (
                Overlap(block, name, other)
                for block in pool.blocks
                for other, name in settled
                if block.overlaps(other)
            ),
            None,
        )
        if found:
            overlaps[pool.name] = found
        else:
            settled += [(block, pool.name) for block in pool.blocks]
    return overlaps


def may_share(one: LoadBalancer, other: LoadBalancer) -> bool:
    """Return whether two Services may be reached at one address."""
    if not one.sharing_key or one.sharing_key != other.sharing_key:
        return False
    here, there = one.metadata.namespace, other.metadata.namespace
    if here != there and not (_invites(one, there) and _invites(other, here)):
        return False
    if one.ports & other.ports or one.local != other.local:
        return False
    # With Local, a node answers only for its own pods: sharers must have the same ones.
    return not one.local or one.pods == other.pods


def _invites(service: LoadBalancer, namespace: str) -> bool:
    return bool({"*", namespace} & service.sharing_namespaces)


class AddressSpace:
    """Every pool's addresses, and the claims on them."""

    def __init__(
        self, pools: Iterable[Pool], reserved: Mapping[Address, str], proof: Proof | None = None
    ) -> None:
        self.proof = proof or Proof()
        """What is known about strangers."""
        self.due: dict[Slot, None] = {}
        """Addresses that must be probed before they are given, in order."""
        self.pools = sorted(pools, key=lambda pool: (pool.metadata.created, pool.name))
        """In order of age."""
        self.overlaps = find_overlaps(self.pools)
        """Later pools that hand out nothing, as they lie upon older ones."""
        self.holders: dict[Slot, list[LoadBalancer]] = {}
        """Who holds an address, the oldest first."""
        self.reserved = {slot_of(address): owner for address, owner in reserved.items()}
        """Addresses that belong to something else, and to what."""
        self.used = {pool.name: 0 for pool in self.pools}
        """How many addresses of each pool are held."""
        self._shared: dict[tuple[str, int], list[Slot]] = defaultdict(list)
        self._cursors: dict[Block, int] = {}

    def usable(self, pool: Pool) -> bool:
        """Return whether the pool hands out new addresses."""
        return not pool.disabled and pool.name not in self.overlaps

    def selecting(self, labels: Mapping[str, str]) -> list[Pool]:
        """Return the pools, usable or not, that serve a Service of these labels."""
        return [p for p in self.pools if p.selector is not None and p.selector.matches(labels)]

    def open_to(self, slot: Slot, service: LoadBalancer) -> bool:
        """Return whether `service` may hold the address, alone or with those who do."""
        return all(may_share(service, holder) for holder in self.holders.get(slot, ()))

    def must_wait(self, slot: Slot) -> bool:
        """Return whether the address, which nobody holds, is to be probed first; note it if so."""
        if slot in self.due:
            return True
        if slot in self.holders or not self.proof.is_due(slot):
            return False
        self.due[slot] = None
        return True

    def claim(self, slot: Slot, service: LoadBalancer) -> None:
        """Record that `service` holds the address."""
        holders = self.holders.setdefault(slot, [])
        holders.append(service)
        if len(holders) == 1:
            for pool in self.pools:
                self.used[pool.name] += pool.holds(*slot)
        if service.sharing_key:
            shared = self._shared[service.sharing_key, slot[0]]
            if slot not in shared:
                shared.append(slot)

    def release(self, slot: Slot, service: LoadBalancer) -> None:
        """Take back a claim that came to nothing; nobody else gets the address in this pass."""
        self.holders[slot].remove(service)
        if not self.holders[slot]:
            del self.holders[slot]
            for pool in self.pools:
                self.used[pool.name] -= pool.holds(*slot)
            slots = self._shared.get((service.sharing_key, slot[0]), [])
            if slot in slots:
                slots.remove(slot)

    def shared(self, service: LoadBalancer, version: int) -> Slot | None:
        """Return an address that its sharing key already has and that it may join."""
        if not service.sharing_key:
            return None
        slots = self._shared.get((service.sharing_key, version), ())
        return next((slot for slot in slots if self.open_to(slot, service)), None)

    def lowest_free(self, pool: Pool, version: int) -> Slot | None:
        """Return the first address of the pool, block by block, that nobody has."""
        for block in pool.blocks:
            if block.version != version:
                continue
            value = self._cursors.get(block, block.first)
            while value <= block.last and self._taken((version, value)):
                value += 1
            self._cursors[block] = value
            if value <= block.last:
                return version, value
        return None

    def _taken(self, slot: Slot) -> bool:
        return slot in self.holders or slot in self.reserved or bool(self.proof.stranger(slot))

    def skipped(self, pool: Pool, slot: Slot) -> list[Slot]:
        """Return the addresses of strangers that would have been given before `slot`."""
        found = [
            other
            for other in self.proof.strangers
            if other not in self.holders and other not in self.reserved and pool.holds(*other)
        ]
        place = _place(pool, slot)
        return sorted(o for o in found if o[0] == slot[0] and _place(pool, o) < place)


def _place(pool: Pool, slot: Slot) -> tuple[int, int]:
    """Return where in the pool's order an address stands."""
    version, value = slot
    blocks = enumerate(pool.blocks)
    block = next((n for n, b in blocks if b.version == version and b.first <= value <= b.last), 0)
    return block, value


def total(pool: Pool) -> int:
    """Return how many addresses the pool has; blocks that overlap count once."""
    count, end = 0, (0, -1)
    for block in sorted(pool.blocks, key=lambda block: (block.version, block.first)):
        start = block.first
        if end[0] == block.version:
            start = max(start, end[1] + 1)
        if start <= block.last:
            count += block.last - start + 1
            end = (block.version, block.last)
    return count
