"""Sampled drops, summed up: who wanted to reach whom, and why it was dropped.

    records (abi.records.EVENT)  ->  Drop per source, destination and reason  ->  a line each

Shapes      records: any number, of one dtype
Invariants  `packets` counts the records and what was dropped unsampled before each.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cairn.abi.address import read_address
from cairn.abi.verdicts import TEXTS, Verdict
from cairn.net import Address, Protocol

UNKNOWN = "of a reason that this version does not know"


@dataclass(frozen=True, slots=True)
class Drop:
    """Packets of one source to one destination, dropped for one reason."""

    source: Address
    """Who sent them."""
    destination: Address
    """To whom."""
    protocol: int
    """IP protocol number."""
    port: int
    """Destination port; 0 where there is none."""
    verdict: int
    """The reason, as the data plane numbers it."""
    packets: int
    """How many."""

    @property
    def reason(self) -> str:
        """The reason's name."""
        known = _known(self.verdict)
        return known.name if known else str(self.verdict)

    def __str__(self) -> str:
        known = _known(self.verdict)
        where = f"{self.destination}:{self.port}" if self.port else str(self.destination)
        name = next((p.name for p in Protocol if p == self.protocol), f"protocol {self.protocol}")
        text = TEXTS[known] if known else UNKNOWN
        many = "1 packet" if self.packets == 1 else f"{self.packets} packets"
        return f"{many} dropped, {self.source} to {where} {name}: {text}"


def sum_drops(records: npt.NDArray[np.void]) -> list[Drop]:
    """Return the drops that `records` tell of, most frequent first."""
    fields = ["source", "destination", "protocol", "destination_port", "verdict"]
    counts: dict[tuple[bytes, bytes, int, int, int], int] = {}
    for row, suppressed in zip(
        records[fields].tolist(), records["suppressed"].tolist(), strict=True
    ):
        key = (bytes(row[0]), bytes(row[1]), row[2], row[3], row[4])
        counts[key] = counts.get(key, 0) + 1 + suppressed
    drops = [
        Drop(read_address(source), read_address(to), protocol, port, verdict, packets)
        for (source, to, protocol, port, verdict), packets in counts.items()
    ]
    return sorted(drops, key=lambda drop: -drop.packets)


def _known(verdict: int) -> Verdict | None:
    try:
        return Verdict(verdict)
    except ValueError:
        return None
