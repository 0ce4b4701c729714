"""Flows as octets of responses, many at a time.

    FLOW records, Dictionaries, field mask  ->  observer.GetFlowsResponse, serialised

The octets of what flows have in common (flow_message.common) are kept by the columns that they
come from; those of each flow are appended, which protobuf reads as one message.

Cost        8 us a flow of a connection (bench/hubble_flows.py)
Standards   Protocol Buffers encoding: messages that are appended are merged
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from cairn.flow import drop_reason
from cairn.flow.address import Records
from cairn.flow.columns import FLOW, Dictionaries, FlowKind
from cairn.flow.event_type import directions, event_types
from cairn.flow.filter_columns import TCP
from cairn.flow.identifier import identifiers, spell
from cairn.flow.view import FlowRow, rows
from cairn.hubble.field_mask import FieldMask
from cairn.hubble.flow_message import (
    NANOSECONDS,
    Flow,
    common,
    set_layer4,
    set_layer7,
    set_suppressed,
    summary,
)
from cairn.hubble.proto import message

Response: Any = message("observer.GetFlowsResponse")
MOST_KEPT = 8192
"""Octets of common parts that are kept; at some 500 octets each."""
_OWN = frozenset(
    {"time_ns", "packets", "octets", "packets_back", "octets_back", "detail", "length"}
    | {"suppressed", "source_port", "destination_port", "tcp_flags", "icmp_type", "icmp_code"}
    | {"pad"}
)
"""Columns that common parts do not come from."""
_COMMON = np.dtype([(name, FLOW[name]) for name in FLOW.names or () if name not in _OWN])
_COUNTED = frozenset({int(FlowKind.CLOSED)})
"""Kinds whose summary has counts."""
_REQUESTS = frozenset({int(FlowKind.HTTP), int(FlowKind.DNS), int(FlowKind.TLS)})
_FLOW_FIELD = b"\x0a"
"""Of the response: number 1, with a length."""


class FlowWriter:
    """Writes flows for one request."""

    def __init__(self, dictionaries: Dictionaries, mask: FieldMask) -> None:
        self._dictionaries = dictionaries
        self._mask = mask
        self._kept: dict[bytes, tuple[bytes, bytes]] = {}

    def responses(self, records: Records) -> Iterator[bytes]:
        """Yield a response for each flow; `records` are to be few thousand at most."""
        keys = _common_keys(records)
        self._keep(keys, records)
        high, low = identifiers(records, self._dictionaries.nodes)
        own: Any = records[list(_OWN_COLUMNS)].tolist()
        told = self._told(records)
        asks, kept = self._mask.asks, self._kept
        wants_time, wants_uuid = self._mask.asks_all("time"), asks("uuid")
        wants_own = any(map(asks, _OWN_FIELDS)) or (asks("time") and not wants_time)
        for at, (key, words) in enumerate(zip(keys, own, strict=True)):
            octets, node = kept[key]
            time_octets = write_time(words[0])
            parts = [octets]
            if wants_time:
                parts.append(b"\x0a" + bytes((len(time_octets),)) + time_octets)
            if wants_uuid:
                parts.append(_UUID_FIELD + spell(int(high[at]), int(low[at])).encode())
            if wants_own:
                parts.append(self._own(words, told.get(at)))
            body = b"".join(parts)
            head = _FLOW_FIELD + write_varint(len(body))
            tail = _TIME_FIELD + bytes((len(time_octets),)) + time_octets
            yield b"".join((head, body, node, tail))

    def _keep(self, keys: list[bytes], records: Records) -> None:
        """Have the common part of every flow."""
        if len(self._kept) > MOST_KEPT:
            self._kept.clear()
        firsts = {key: at for at, key in enumerate(keys) if key not in self._kept}
        if not firsts:
            return
        chosen = records[list(firsts.values())]
        types = event_types(chosen)
        reasons = drop_reason.HUBBLE[chosen["reason"]].tolist()
        made = zip(firsts, rows(chosen, self._dictionaries), chosen, strict=True)
        for at, (key, row, record) in enumerate(made):
            flow = common(
                row,
                event_type=int(types.type[at]),
                sub_type=int(types.sub_type[at]),
                hubble_reason=reasons[at],
            )
            flow.node_labels.extend(self._dictionaries.node_labels.get(int(record["node"]), ()))
            if record["ifindex"]:
                flow.interface.index, flow.interface.name = int(record["ifindex"]), row.interface
            if row.kind not in _COUNTED | _REQUESTS:
                flow.Summary = summary(row)
            node = Response(node_name=row.node).SerializeToString()
            self._kept[key] = (self._mask.apply(flow).SerializeToString(), node)

    def _told(self, records: Records) -> dict[int, FlowRow]:
        """Return rows of those flows whose own part needs more than their columns."""
        kinds = records["kind"]
        chosen = np.flatnonzero(np.isin(kinds, sorted(_COUNTED | _REQUESTS)))
        return dict(zip(chosen.tolist(), rows(records[chosen], self._dictionaries), strict=True))

    def _own(self, words: tuple[Any, ...], row: FlowRow | None) -> bytes:
        time_ns, source_port, port, protocol, kind, tcp_flags, icmp, code, suppressed, flags = words
        flow = Flow()
        more = (icmp, code)
        if protocol == TCP:
            more = (tcp_flags if kind < FlowKind.HTTP else 0, 0)
        set_layer4(flow, protocol, (source_port, port), more)
        if not self._mask.asks_all("time"):
            flow.time.FromNanoseconds(time_ns)
        if row is not None:
            set_layer7(flow, row)
            flow.Summary = summary(row)
        if suppressed:
            set_suppressed(flow, _DIRECTIONS[flags], suppressed)
        octets: bytes = self._mask.apply(flow).SerializeToString()
        return octets


_OWN_FIELDS = ("l4", "l7", "trace_context", "Summary", "aggregate")
_OWN_COLUMNS = (
    *("time_ns", "source_port", "destination_port", "protocol", "kind", "tcp_flags"),
    *("icmp_type", "icmp_code", "suppressed", "flags"),
)
_UUID_FIELD = bytes.fromhex("920224")
"""Of the flow: number 34, 36 octets."""
_TIME_FIELD = bytes.fromhex("ca3e")
"""Of the response: number 1001."""


def _every_direction() -> list[int]:
    records: Records = np.zeros(256, FLOW)
    records["flags"] = np.arange(256)
    return [int(direction) for direction in directions(records)]


_DIRECTIONS = _every_direction()


def _common_keys(records: Records) -> list[bytes]:
    packed = np.empty(len(records), _COMMON)
    for name in _COMMON.names or ():
        packed[name] = records[name]
    octets, size = packed.tobytes(), _COMMON.itemsize
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def write_time(time_ns: int) -> bytes:
    """Return the octets of a google.protobuf.Timestamp."""
    seconds, nanos = divmod(time_ns, NANOSECONDS)
    front = b"\x08" + write_varint(seconds) if seconds else b""
    return front + (b"\x10" + write_varint(nanos) if nanos else b"")


def write_varint(number: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first."""
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)
