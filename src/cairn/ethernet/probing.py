"""A round of probes: which addresses of a segment somebody answers for.

    addresses, claims heard, now  ->  Probing  ->  frames, the MAC that answered per address

Three probes each, then a wait: together less than a quarter of a second. RFC 5227 s1.1 spreads
them over seconds, because it serves a host that may start together with a whole network; we ask
about hosts that have long been there.

Invariants  A machine of the usual shape, but that its input is claims. It ends by itself.
            Frames leave in bursts of at most BURST, so that no queue on the way overflows.
Standards   RFC 5227 s2.1 (IPv4), RFC 4862 s5.4 (IPv6)
"""

from collections.abc import Iterable
from ipaddress import IPv4Address

from cairn.ethernet import arp, nd
from cairn.ethernet.claim import Claim
from cairn.net import Address

PROBES = 3
SPACING_S = 0.06
WAIT_S = 0.08
BURST = 64
PAUSE_S = 0.005


class Probing:
    """One round, for a set of addresses."""

    def __init__(self, addresses: Iterable[Address], mac: bytes, now: float) -> None:
        self.found: dict[Address, bytes] = {}
        """Who answered."""
        self._mac = mac
        self._addresses = tuple(dict.fromkeys(addresses))
        bursts = range(0, len(self._addresses), BURST)
        spacing_s = max(SPACING_S, len(bursts) * PAUSE_S)
        self._due = [
            (now + round_ * spacing_s + place * PAUSE_S, start)
            for round_ in range(PROBES)
            for place, start in enumerate(bursts)
        ]
        self._ends = (self._due[-1][0] if self._due else now) + WAIT_S
        self._out: list[bytes] = []

    @property
    def deadline(self) -> float:
        """When `expire` must be called, or the round is over."""
        return self._due[0][0] if self._due else self._ends

    def done(self, now: float) -> bool:
        """Return whether the round is over: its time has passed, or all have answered."""
        return now >= self._ends or len(self.found) == len(self._addresses)

    def receive(self, claim: Claim) -> None:
        """Take a claim that was heard on the segment."""
        if claim.address in self._addresses and claim.mac != self._mac:
            self.found.setdefault(claim.address, claim.mac)

    def expire(self, now: float) -> None:
        """Take the time; probes whose time has come are put out."""
        while self._due and now >= self._due[0][0]:
            _, start = self._due.pop(0)
            for address in self._addresses[start : start + BURST]:
                if address not in self.found:
                    self._out.append(probe(address, self._mac))

    def output(self) -> list[bytes]:
        """Return the frames to send and forget them."""
        out, self._out = self._out, []
        return out


def probe(address: Address, mac: bytes) -> bytes:
    """Return the frame that asks who has `address` without claiming it."""
    if isinstance(address, IPv4Address):
        return arp.probe(address, mac)
    return nd.probe(address, mac)
