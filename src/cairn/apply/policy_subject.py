"""The entries of `policy_peers` that one subject's policy needs.

    SubjectPolicy  ->  Wish: EncodedTable by place

Shapes      place: the other end's identity times two, plus the direction; an identity of 0 is any
            other
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from cairn.abi.structs import EndpointFlag, PolicyDirection, PolicyKey
from cairn.apply.policy_table import EncodedTable
from cairn.desired.policy import DirectionPolicy, Redirect, SubjectPolicy, Table
from cairn.kube.policy.rule import Direction

ISOLATED = {
    PolicyDirection.EGRESS: EndpointFlag.EGRESS,
    PolicyDirection.INGRESS: EndpointFlag.INGRESS,
}
_TABLE = slice(0, 4)


@dataclass(slots=True)
class Subject:
    """What the maps hold of one subject."""

    entries: dict[int, bytes]
    """Values of `policy_peers` by place."""
    flags: EndpointFlag | None = None
    """In which directions it is isolated; None: as an earlier agent left it."""

    def at(self, remote: int, direction: int) -> bytes | None:
        """Return the entry that decides towards an identity; None: everyone may pass."""
        return self.entries.get(remote << 1 | direction) or self.entries.get(direction)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the maps are to hold of one subject."""

    tables: Mapping[int, EncodedTable]
    """By place."""
    flags: EndpointFlag
    """In which directions it is isolated."""

    @property
    def redirects(self) -> frozenset[Redirect]:
        """What proxies must serve for it."""
        return frozenset().union(*(table.redirects for table in self.tables.values()))


def wish_of(
    policy: SubjectPolicy,
    encode: Callable[[Table], EncodedTable],
    held: Collection[Direction] = (),
) -> Wish:
    """Return what the maps are to hold for `policy`.

    `held`: directions in which the data plane is to look at its connections in any case.
    """
    tables: dict[int, EncodedTable] = {}
    flags = EndpointFlag(0)
    for direction in held:
        flags |= ISOLATED[PolicyDirection[direction.name]]
    both: tuple[tuple[PolicyDirection, DirectionPolicy | None], ...] = (
        (PolicyDirection.EGRESS, policy.egress),
        (PolicyDirection.INGRESS, policy.ingress),
    )
    for way, found in both:
        if found is None:
            continue
        flags |= ISOLATED[way]
        tables[int(way)] = encode(found.rest)
        for remote, table in found.peers.items():
            tables[remote << 1 | way] = encode(table)
    return Wish(tables, flags)


def peer_octets(number: int, encoded: EncodedTable) -> bytes:
    """Return a value of `policy_peers`: where the table is, and what holds besides."""
    return number.to_bytes(4, "little") + encoded.lengths.to_bytes(4, "little") + encoded.rest


def table_of(value: bytes) -> int:
    """Return the table that a value of `policy_peers` names."""
    return int.from_bytes(value[_TABLE], "little")


def key_of(subject: int, place: int) -> bytes:
    """Return the key of `policy_peers` for a place of a subject."""
    return PolicyKey(subject, place >> 1, place & 1).write()


def read_key(octets: bytes) -> tuple[int, int]:
    """Return subject and place."""
    key = PolicyKey.read(octets)
    return key.subject, key.remote << 1 | key.direction
