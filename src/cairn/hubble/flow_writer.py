"""Flows as octets of responses, many at a time.

    FLOW records, Dictionaries, field mask  ->  observer.GetFlowsResponse, serialised

A flow is written in parts, which protobuf reads as one message. Those that are alike in many flows
are kept, by the columns that they come from.

Cost        6 us a flow of a connection (bench/hubble_flows.py)
Standards   Protocol Buffers encoding: messages that are appended are merged
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cairn.flow import drop_reason
from cairn.flow.address import Records, read_octets
from cairn.flow.columns import FLOW, Dictionaries, End, FlowKind
from cairn.flow.event_type import directions, event_types
from cairn.flow.filter_columns import SCTP, TCP, UDP
from cairn.flow.identifier import identifiers, spell
from cairn.flow.view import FlowRow, rows
from cairn.hubble.field_mask import FieldMask
from cairn.hubble.flow_message import (
    NANOSECONDS,
    Flow,
    common,
    destination,
    set_layer4,
    set_layer7,
    set_suppressed,
    source,
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
"""Columns that no part comes from which is kept."""
_SIDES = {side: (side, f"{side}_end", f"{side}_identity") for side in ("source", "destination")}
_COMMON = tuple(n for n in FLOW.names or () if n not in _OWN.union(*_SIDES.values()))
_COUNTED = frozenset({int(FlowKind.CLOSED)})
"""Kinds whose summary has counts."""
_REQUESTS = frozenset({int(FlowKind.HTTP), int(FlowKind.DNS), int(FlowKind.TLS)})
_FLOW_FIELD = b"\x0a"
"""Of the response: number 1, with a length."""
_FLOW_TIME = b"\x0a"
"""Of the flow: likewise."""


class FlowWriter:
    """Writes flows for one request."""

    def __init__(self, dictionaries: Dictionaries, mask: FieldMask) -> None:
        self._dictionaries = dictionaries
        self._mask = mask
        self._sources: dict[bytes, bytes] = {}
        self._destinations: dict[bytes, bytes] = {}
        self._commons: dict[bytes, tuple[bytes, bytes]] = {}
        time_apart = mask.asks("time") and not mask.asks_all("time")
        self._whole_l4 = mask.asks_all("l4") and not time_apart

    def responses(self, records: Records) -> Iterator[bytes]:
        """Yield a response for each flow; `records` are to be few thousand at most."""
        parts = zip(
            self._ends("source", source, self._sources, records),
            self._ends("destination", destination, self._destinations, records),
            self._common(records),
            self._uuids(records),
            strict=True,
        )
        own: Any = records[list(_OWN_COLUMNS)].tolist()
        told = self._told(records)
        wants_time = self._mask.asks_all("time")
        wants_own = any(map(self._mask.asks, _OWN_FIELDS)) or (
            self._mask.asks("time") and not wants_time
        )
        for at, (sent, received, (shared, node), uuid) in enumerate(parts):
            words = own[at]
            time_octets = write_time(words[0])
            moment = bytes((len(time_octets),)) + time_octets
            front = _FLOW_TIME + moment if wants_time else b""
            last = self._own(words, told.get(at)) if wants_own else b""
            body = b"".join((front, sent, received, shared, uuid, last))
            head = _FLOW_FIELD + write_varint(len(body))
            yield b"".join((head, body, node, _TIME_FIELD, moment))

    def _ends(
        self, side: str, build: Callable[..., Any], kept: dict[bytes, bytes], records: Records
    ) -> list[bytes]:
        """Return the part about one end, for each flow."""
        keys, firsts = _missing(records, _SIDES[side], kept)
        for key, at in firsts.items():
            octets, end, identity = (records[name][at] for name in _SIDES[side])
            known = self._dictionaries.ends.get(int(end), _NOBODY)
            flow = build(read_octets(octets.tobytes()), known, int(identity))
            kept[key] = self._mask.apply(flow).SerializeToString()
        return [kept[key] for key in keys]

    def _common(self, records: Records) -> list[tuple[bytes, bytes]]:
        """Return the part that says what was decided and where, and the node of the response."""
        keys, firsts = _missing(records, _COMMON, self._commons)
        if firsts:
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
                self._commons[key] = self._commonly(flow, row, record)
        return [self._commons[key] for key in keys]

    def _commonly(self, flow: Any, row: FlowRow, record: Any) -> tuple[bytes, bytes]:
        flow.node_labels.extend(self._dictionaries.node_labels.get(int(record["node"]), ()))
        if record["ifindex"]:
            flow.interface.index, flow.interface.name = int(record["ifindex"]), row.interface
        if row.kind not in _COUNTED | _REQUESTS:
            flow.Summary = summary(row)
        node = Response(node_name=row.node).SerializeToString()
        return self._mask.apply(flow).SerializeToString(), node

    def _uuids(self, records: Records) -> list[bytes]:
        if not self._mask.asks("uuid"):
            return [b""] * len(records)
        high, low = identifiers(records, self._dictionaries.nodes)
        pairs = zip(high.tolist(), low.tolist(), strict=True)
        return [_UUID_FIELD + spell(*pair).encode() for pair in pairs]

    def _told(self, records: Records) -> dict[int, FlowRow]:
        """Return rows of those flows whose own part needs more than their columns."""
        kinds = records["kind"]
        chosen = np.flatnonzero(np.isin(kinds, sorted(_COUNTED | _REQUESTS)))
        return dict(zip(chosen.tolist(), rows(records[chosen], self._dictionaries), strict=True))

    def _own(self, words: tuple[Any, ...], row: FlowRow | None) -> bytes:
        time_ns, source_port, port, protocol, kind, tcp_flags, icmp, code, suppressed, flags = words
        if self._whole_l4 and row is None and not suppressed and protocol in _WITH_PORTS:
            flags_part = _TCP_FLAGS[tcp_flags] if protocol == TCP and kind < FlowKind.HTTP else b""
            return _write_ports(protocol, source_port, port, flags_part)
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
_NOBODY = End()
_UUID_FIELD = bytes.fromhex("920224")
"""Of the flow: number 34, 36 octets."""
_TIME_FIELD = bytes.fromhex("ca3e")
"""Of the response: number 1001."""


def _every_direction() -> list[int]:
    records: Records = np.zeros(256, FLOW)
    records["flags"] = np.arange(256)
    return [int(direction) for direction in directions(records)]


_DIRECTIONS = _every_direction()


_WITH_PORTS = {TCP: b"\x0a", UDP: b"\x12", SCTP: b"\x2a"}
"""Fields of Layer4."""
_LAYER4_FIELD = b"\x32"


def _write_ports(protocol: int, source_port: int, port: int, flags: bytes) -> bytes:
    """Return the octets of a flow's layer 4."""
    inner = b"\x08" + write_varint(source_port) if source_port else b""
    inner += (b"\x10" + write_varint(port) if port else b"") + flags
    outer = _WITH_PORTS[protocol] + bytes((len(inner),)) + inner
    return _LAYER4_FIELD + bytes((len(outer),)) + outer


def _written_flags(flags: int) -> bytes:
    flow = Flow()
    set_layer4(flow, TCP, (0, 0), (flags, 0))
    octets: bytes = flow.l4.TCP.SerializeToString()
    return octets


_TCP_FLAGS = [_written_flags(flags) for flags in range(256)]


def _missing(
    records: Records, columns: Sequence[str], kept: dict[bytes, Any]
) -> tuple[list[bytes], dict[bytes, int]]:
    """Return the key of each flow, and where each that is not kept stands."""
    packed = np.empty(len(records), [(name, FLOW[name]) for name in columns])
    for name in columns:
        packed[name] = records[name]
    octets, size = packed.tobytes(), packed.dtype.itemsize
    keys = [octets[at : at + size] for at in range(0, len(octets), size)]
    if len(kept) > MOST_KEPT:
        kept.clear()
    return keys, {key: at for at, key in enumerate(keys) if key not in kept}


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
