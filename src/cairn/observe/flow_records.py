"""The data plane's events as flow columns: a batch at a time, names looked up once per address.

    EVENT batch  ->  FLOW batch, with keys of ends and decisions

Invariants  Every event becomes a flow; of a kind that is not known too (verdict UNKNOWN).
            An address is looked up again after REFRESH_NS at the latest, so that a name is never
            older than that.
Units       `time_ns`: CLOCK_MONOTONIC in, since 1970 out
Cost        0.3 us an event in batches of thousands, with storing it (bench/flow_query.py)
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cairn.abi.event import EventKind
from cairn.abi.verdicts import FIRST_DROP
from cairn.flow.address import Records, halves
from cairn.flow.columns import FLOW, Batch, Decision, End, FlowFlag, FlowKind, FlowVerdict
from cairn.flow.renumbering import Numberings

REFRESH_NS = 1_000_000_000
MOST_CACHED = 16_384
_SAME = (
    *("source", "destination", "translated", "packets", "octets", "packets_back", "octets_back"),
    *("source_identity", "destination_identity", "ifindex", "length", "suppressed"),
    *("source_port", "destination_port", "translated_port", "kernel_reason"),
    *("protocol", "kind", "point", "tcp_flags", "flags", "icmp_type", "icmp_code"),
)
_PROXIED = (FlowKind.HTTP, FlowKind.DNS, FlowKind.TLS)
_VERDICTS = np.full(256, FlowVerdict.UNKNOWN, np.uint8)
for _kind, _verdict in {
    EventKind.DROP: FlowVerdict.DROPPED,
    EventKind.NEW: FlowVerdict.FORWARDED,
    EventKind.CLOSED: FlowVerdict.FORWARDED,
    EventKind.TRANSLATED: FlowVerdict.TRANSLATED,
    EventKind.HANDED_OVER: FlowVerdict.FORWARDED,
    EventKind.REDIRECTED: FlowVerdict.REDIRECTED,
    EventKind.AUDITED: FlowVerdict.AUDIT,
    EventKind.PACKET: FlowVerdict.FORWARDED,
    EventKind.KERNEL_DROP: FlowVerdict.DROPPED,
}.items():
    _VERDICTS[_kind] = _verdict


class Known(NamedTuple):
    """Who has an address."""

    end: End
    identity: int
    """0: not known."""


Who = Callable[[bytes], Known]
"""Tells who has the address in 16 octets."""
Rule = Callable[[int], Decision | None]
"""Tells which rule has a number."""


class Asked(NamedTuple):
    """What a proxy was given."""

    subject: int
    """Identity whose rules are applied."""
    peer: bytes
    """Address of the other end, in 16 octets."""
    protocol: int
    """IANA protocol number."""
    port: int
    """Of the destination."""
    ingress: bool
    """Whether the subject is the destination."""


Judge = Callable[[Asked], Decision | None]
"""Tells which rule gives a connection to a proxy."""


class FlowRecords:
    """Makes one node's flows."""

    def __init__(self, node: str, who: Who, rule: Rule, judge: Judge) -> None:
        self.numberings = Numberings()
        self._node = node
        self._who = who
        self._rule = rule
        self._judge = judge
        self._judged: dict[Asked, Decision | None] = {}
        self._ends: dict[bytes, tuple[int, int]] = {}
        self._stale_at_ns = 0
        self._epoch = -1
        self._interfaces: dict[int, str] = {}

    def of_events(self, events: Records, *, offset_ns: int, now_ns: int) -> Batch:
        """Return the flows of some events.

        offset_ns: what CLOCK_MONOTONIC has to be given to be the time; now_ns: CLOCK_MONOTONIC.
        """
        records: Records = np.zeros(len(events), FLOW)
        for column in _SAME:
            records[column] = events[column]
        records["time_ns"] = events["time_ns"] + np.uint64(offset_ns)
        records["reason"] = events["verdict"]
        verdicts = _VERDICTS[events["kind"]]
        packets = events["kind"] == EventKind.PACKET
        verdicts[packets & (events["verdict"] >= FIRST_DROP)] = FlowVerdict.DROPPED
        records["verdict"] = verdicts
        records["decision"] = self._decisions(events["rule"])
        return self.finish(records, now_ns)

    def lost(self, by_point: dict[int, int], time_ns: int, now_ns: int) -> Batch:
        """Return flows that tell how many events were lost, by the point where."""
        records: Records = np.zeros(len(by_point), FLOW)
        records["time_ns"] = time_ns
        records["kind"] = FlowKind.LOST
        records["point"] = list(by_point)
        records["packets"] = list(by_point.values())
        return self._batch(records)

    def finish(self, records: Records, now_ns: int) -> Batch:
        """Return the batch of records that have addresses and details, but no names yet."""
        if now_ns >= self._stale_at_ns or len(self._ends) + len(self._judged) > MOST_CACHED:
            self._ends.clear()
            self._judged.clear()
            self._stale_at_ns = now_ns + REFRESH_NS
        if self._epoch != self.numberings.ends.epoch:
            self._epoch = self.numberings.ends.epoch
            self._ends.clear()
        for side in ("source", "destination"):
            keys, identities = self._look_up(records, side)
            records[f"{side}_end"] = keys
            unknown = records[f"{side}_identity"] == 0
            records[f"{side}_identity"][unknown] = identities[unknown]
        for at in np.flatnonzero(np.isin(records["kind"], _PROXIED)):
            records["decision"][at] = self._judgement(records[at])
        return self._batch(records)

    def name_interface(self, ifindex: int, name: str) -> None:
        """Take the name of one of the node's interfaces."""
        if self._interfaces.get(ifindex) != name:
            self._interfaces[ifindex] = name
            node = self.numberings.nodes.key(self._node)
            self.numberings.name_interface(node, ifindex, name)

    def name_kernel_reasons(self, names: Mapping[int, str]) -> None:
        """Take what this node's kernel calls its reasons to drop."""
        node = self.numberings.nodes.key(self._node)
        for number, name in names.items():
            self.numberings.name_kernel_reason(node, number, name)

    def _batch(self, records: Records) -> Batch:
        records["node"] = self.numberings.nodes.key(self._node)
        added, floors = self.numberings.take()
        return Batch(records, added, floors)

    def _decisions(self, rules: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        if not rules.any():
            return rules
        used, where = np.unique(rules, return_inverse=True)
        keys = [self._decision(rule) for rule in used.tolist()]
        return np.array(keys, np.uint32)[where]

    def _decision(self, rule: int) -> int:
        found = self._rule(rule) if rule else None
        return 0 if found is None else self.numberings.decisions.key(found)

    def _judgement(self, record: Any) -> int:
        """Return the key of the rule by which a proxy has a request."""
        ingress = bool(record["flags"] & FlowFlag.TO_POD)
        subject, peer = ("destination", "source") if ingress else ("source", "destination")
        asked = Asked(
            int(record[f"{subject}_identity"]),
            record[peer].tobytes(),
            int(record["protocol"]),
            int(record["destination_port"]),
            ingress,
        )
        if asked not in self._judged:
            self._judged[asked] = self._judge(asked)
        found = self._judged[asked]
        return 0 if found is None else self.numberings.decisions.key(found)

    def _look_up(
        self, records: Records, side: str
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Return keys of ends and identities, of the addresses of one side."""
        first, where = distinct(records, side)
        octets = records[side][first].tolist()
        found = [self._end(address) for address in octets]
        table = np.array(found, np.uint32).reshape(-1, 2)
        return table[where, 0], table[where, 1]

    def _end(self, address: bytes) -> tuple[int, int]:
        found = self._ends.get(address)
        if found is None:
            known = self._who(address)
            key = 0 if known.end == _NOBODY else self.numberings.ends.key(known.end)
            found = self._ends[address] = (key, known.identity)
        return found


_NOBODY = End()
_MIX = np.uint64(0x9E3779B97F4A7C15)


def distinct(records: Records, column: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return where each distinct address stands first, and which of these each flow has."""
    pair = halves(records, column)
    mixed = pair.front * _MIX
    mixed ^= mixed >> np.uint64(29)
    mixed += pair.back * _MIX
    mixed ^= pair.back >> np.uint64(32)
    _, first, where = np.unique(mixed, return_index=True, return_inverse=True)
    # Addresses that somebody chose so that they collide are told apart the long way.
    same = (pair.front[first][where] == pair.front) & (pair.back[first][where] == pair.back)
    if not same.all():
        whole = np.stack((pair.front, pair.back), axis=1)
        _, first, where = np.unique(whole, axis=0, return_index=True, return_inverse=True)
    return first, where.reshape(-1)
