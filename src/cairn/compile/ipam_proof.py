"""What is known about strangers in the nodes' subnets: who may have an address before we give it.

    answers to probes  ->  Proof  ->  may this address be given, must it be probed first

Invariants  An address outside every node's subnet needs no proof: no stranger there could answer.
            What could not be probed in time is given all the same, and said (fail static).
Not here    Who probes (operator.prober), how (cairn.ethernet).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cairn.net import Address, Network

Slot = tuple[int, int]
Span = tuple[int, int, int]
"""IP version, first and last address as numbers."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What probes have shown."""

    spans: tuple[Span, ...] = ()
    """Subnets in which some node can probe."""
    free: frozenset[Slot] = frozenset()
    """Addresses that nobody answered for lately."""
    unproven: frozenset[Slot] = frozenset()
    """Addresses that no node could probe in time."""
    strangers: Mapping[Slot, str] = field(default_factory=dict)
    """Ethernet address that answered last, by address."""
    stale: frozenset[Slot] = frozenset()
    """Addresses of strangers that were not asked for lately: whoever wants one is to ask again."""

    def stranger(self, slot: Slot) -> str:
        """Return the Ethernet address that keeps the address from us; empty if none does."""
        return "" if slot in self.stale else self.strangers.get(slot, "")

    def is_due(self, slot: Slot) -> bool:
        """Return whether the address must be probed before it is given."""
        if slot in self.free or slot in self.unproven or not self.spans:
            return False
        version, value = slot
        return any(v == version and first <= value <= last for v, first, last in self.spans)


def spans_of(networks: Iterable[Network]) -> tuple[Span, ...]:
    """Return the networks as spans, each once."""
    return tuple(
        dict.fromkeys(
            (n.version, int(n.network_address), int(n.broadcast_address)) for n in networks
        )
    )


def slots_of(addresses: Iterable[Address]) -> frozenset[Slot]:
    """Return the addresses as slots."""
    return frozenset((address.version, int(address)) for address in addresses)
