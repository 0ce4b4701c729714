"""Sampled drops, summed up: who wanted to reach whom, and why it was dropped.

    records (abi.records.EVENT)  ->  Drop per source, destination, reason and rule  ->  a line each

What a policy in audit mode would have dropped is told of likewise.

Shapes      records: any number, of one dtype
Invariants  `packets` counts the records and what was dropped unsampled before each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cairn.abi.address import read_address
from cairn.abi.verdicts import TEXTS, Verdict
from cairn.kube.policy.rule import RuleRef
from cairn.net import Address, Protocol

UNKNOWN = "of a reason that this version does not know"
LET_THROUGH = frozenset({Verdict.AUDITED})
"""Verdicts of events that tell of no drop."""


def _nobody(_: Address) -> str:
    return ""


def _no_rule(_: int) -> RuleRef | None:
    return None


@dataclass(frozen=True, slots=True)
class Names:
    """What people call what events have numbers and addresses for."""

    rule: Callable[[int], RuleRef | None] = _no_rule
    """The rule of a number; None if it is not known."""
    host: Callable[[Address], str] = _nobody
    """Who has an address; empty if it is not known."""


NO_NAMES = Names()


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
    rule: int = 0
    """Number of the policy's rule that decided; 0: not a matter of policy."""

    @property
    def reason(self) -> str:
        """The reason's name."""
        known = _known(self.verdict)
        return known.name if known else str(self.verdict)

    def __str__(self) -> str:
        return self.describe(NO_NAMES)

    def describe(self, names: Names) -> str:
        """Return one line for people."""
        known = _known(self.verdict)
        name = next((p.name for p in Protocol if p == self.protocol), f"protocol {self.protocol}")
        many = "1 packet" if self.packets == 1 else f"{self.packets} packets"
        became = "let through" if known in LET_THROUGH else "dropped"
        source = _host(self.source, 0, names)
        destination = _host(self.destination, self.port, names)
        return f"{many} {became}, {source} to {destination} {name}: {self._why(known, names)}"

    def _why(self, known: Verdict | None, names: Names) -> str:
        ref = names.rule(self.rule) if self.rule else None
        if known is None or ref is None:
            return TEXTS[known] if known else UNKNOWN
        match known:
            case Verdict.DROP_POLICY_DENIED:
                return f"denied by {ref}"
            case Verdict.DROP_POLICY_DEFAULT:
                return f"default deny by {ref.policy}"
            case Verdict.AUDITED:
                return f"{ref}, in audit mode, would have decided otherwise"
        return f"{TEXTS[known]} ({ref})"


def sum_drops(records: npt.NDArray[np.void]) -> list[Drop]:
    """Return the drops that `records` tell of, most frequent first."""
    fields = ["source", "destination", "protocol", "destination_port", "verdict", "rule"]
    counts: dict[tuple[bytes, bytes, int, int, int, int], int] = {}
    for row, suppressed in zip(
        records[fields].tolist(), records["suppressed"].tolist(), strict=True
    ):
        key = (bytes(row[0]), bytes(row[1]), row[2], row[3], row[4], row[5])
        counts[key] = counts.get(key, 0) + 1 + suppressed
    drops = [
        Drop(read_address(source), read_address(to), protocol, port, verdict, packets, rule)
        for (source, to, protocol, port, verdict, rule), packets in counts.items()
    ]
    return sorted(drops, key=lambda drop: -drop.packets)


def _host(address: Address, port: int, names: Names) -> str:
    where = f"{address}:{port}" if port else str(address)
    name = names.host(address)
    return f"{name} ({where})" if name else where


def _known(verdict: int) -> Verdict | None:
    try:
        return Verdict(verdict)
    except ValueError:
        return None
