"""Adj-RIB-Out: what one peer was told, and what it must still be told.

    wanted routes  ->  AdjOut.drain  ->  packed UPDATE bodies

Invariants  A route that changes back before it was sent costs nothing on the wire.
            Withdrawals go out before announcements; equal attributes share messages.
Standards   RFC 4271 s9.2; RFC 4724 s4.1 (End-of-RIB once the first routes are out)
"""

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.family import Family, family_of
from cairn.bgp.message.update import write_announcements, write_end_of_rib, write_withdrawals
from cairn.bgp.negotiate import Negotiated
from cairn.net import Network


class AdjOut:
    """The routes told to one peer over one session."""

    def __init__(self, negotiated: Negotiated) -> None:
        self._negotiated = negotiated
        self._sent: dict[Network, Attributes] = {}
        self._pending: dict[Network, Attributes | None] = {}
        self._ends: list[Family] = []

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def pending(self) -> int:
        """Return how many prefixes wait to be sent."""
        return len(self._pending)

    def want(self, prefix: Network, attributes: Attributes | None) -> None:
        """Say what the peer should know of `prefix`; None: nothing."""
        if self._sent.get(prefix) == attributes:
            self._pending.pop(prefix, None)
        else:
            self._pending[prefix] = attributes

    def again(self, family: Family) -> None:
        """Send what was sent of `family` once more (RFC 2918 s4)."""
        for prefix, attributes in self._sent.items():
            if family_of(prefix) == family:
                self._pending.setdefault(prefix, attributes)

    def sent(self) -> dict[Network, Attributes]:
        """Return what the peer was told."""
        return dict(self._sent)

    def end(self, family: Family) -> None:
        """Send End-of-RIB of `family` after what is pending."""
        self._ends.append(family)

    def drain(self) -> list[bytes]:
        """Return the bodies that tell the peer all that is pending."""
        if not self._pending and not self._ends:
            return []
        pending, self._pending = self._pending, {}
        gone: list[Network] = []
        groups: dict[Attributes, list[Network]] = {}
        for prefix, attributes in pending.items():
            if attributes is None:
                del self._sent[prefix]
                gone.append(prefix)
            else:
                self._sent[prefix] = attributes
                groups.setdefault(attributes, []).append(prefix)
        bodies = write_withdrawals(gone, self._negotiated)
        for attributes, prefixes in groups.items():
            bodies += write_announcements(prefixes, attributes, self._negotiated)
        bodies += [write_end_of_rib(family, self._negotiated) for family in self._ends]
        self._ends.clear()
        return bodies
