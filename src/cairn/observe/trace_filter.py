"""What a trace asks for: rows, of which a packet must fit one, in either direction.

    TraceQuestion  ->  rows of map `trace_filters`;  FLOW records  ->  those that fit

The data plane looks at rows alone, since several traces share them: which of them a packet is for
is found here by the same rule.

Standards   RFC 4291 s2.5.5.2: IPv4 networks are looked at as mapped
Not here    Whom names stand for (cli.trace_names).
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from cairn.abi.structs import TRACE_ROWS, TraceFilter
from cairn.flow.address import Halves, Records, halves, mask_of, words, write_octets
from cairn.flow.columns import FlowFlag
from cairn.net import parse_address, parse_network

MOST_TRACES = 2
ROWS = TRACE_ROWS // MOST_TRACES
"""That one trace may have."""
LONGEST_S = 3600
Mask = npt.NDArray[np.bool_]
_ANY = bytes(16)
_NONE = parse_address("::")


class BadTrace(ValueError):
    """A question that cannot be traced; the text says why."""


class TraceRow(msgspec.Struct, frozen=True):
    """One kind of packet."""

    source: str = ""
    """A network; empty: any."""
    destination: str = ""
    """Likewise."""
    port: int = 0
    """Of the destination; 0: any."""
    protocol: int = 0
    """0: any."""


class TraceQuestion(msgspec.Struct, frozen=True):
    """What a trace asks of one node."""

    rows: tuple[TraceRow, ...]
    for_s: float = 30.0
    """How long."""


class _Prefix(NamedTuple):
    address: bytes
    mask: bytes


def check(question: TraceQuestion) -> None:
    """Raise BadTrace if the question cannot be traced."""
    if not 1 <= len(question.rows) <= ROWS:
        raise BadTrace(
            f"{len(question.rows)} pairs of addresses and ports, and a trace takes 1 to {ROWS}: "
            "name fewer, or a network"
        )
    if not 0 < question.for_s <= LONGEST_S:
        raise BadTrace(f"{question.for_s:g} s, and a trace lasts up to {LONGEST_S} s")
    for row in question.rows:
        if not 0 <= row.port < 1 << 16 or not 0 <= row.protocol < 256:
            raise BadTrace(f"port {row.port}, protocol {row.protocol}: no such numbers")
        if _version(row.source) != _version(row.destination) and row.source and row.destination:
            raise BadTrace(f"{row.source} and {row.destination} are of two IP versions")


def compile_rows(rows: Iterable[TraceRow], until_ns: int) -> list[bytes]:
    """Return entries of the map, which end at `until_ns` of CLOCK_MONOTONIC."""
    made = []
    for row in rows:
        source, destination = _prefix(row.source), _prefix(row.destination)
        entry = TraceFilter(
            source=ipaddress.IPv6Address(source.address),
            source_mask=ipaddress.IPv6Address(source.mask),
            destination=ipaddress.IPv6Address(destination.address),
            destination_mask=ipaddress.IPv6Address(destination.mask),
            until_ns=until_ns,
            port=row.port,
            port_mask=0xFFFF if row.port else 0,
            protocol=row.protocol,
            protocol_mask=0xFF if row.protocol else 0,
        )
        made.append(entry.write())
    return made


def empty_row() -> bytes:
    """Return an entry that no packet fits."""
    return TraceFilter(_NONE, _NONE, _NONE, _NONE, 0, 0, 0, 0, 0).write()


def fits(rows: Iterable[TraceRow], records: Records) -> Mask:
    """Return which flows one of the rows fits, as they came or as they went on."""
    found = np.zeros(len(records), np.bool_)
    source, destination = halves(records, "source"), halves(records, "destination")
    translated = halves(records, "translated")
    moved = (translated.front | translated.back) != 0
    answers = moved & (records["flags"] & FlowFlag.REPLY != 0)
    sport, dport, tport = (
        records[f"{name}_port"] for name in ("source", "destination", "translated")
    )
    for row in rows:
        mine = np.ones(len(records), np.bool_)
        if row.protocol:
            mine &= records["protocol"] == row.protocol
        one = _one_way(row, source, destination, sport, dport)
        # What an end became counts as that end: the destination, or the source of an answer.
        one |= moved & ~answers & _one_way(row, source, translated, sport, tport)
        one |= answers & _one_way(row, translated, destination, tport, dport)
        found |= mine & one
    return found


def _one_way(
    row: TraceRow, source: Halves, destination: Halves, sport: Records, dport: Records
) -> Mask:
    there = _within(source, row.source) & _within(destination, row.destination)
    back = _within(destination, row.source) & _within(source, row.destination)
    if row.port:
        there &= dport == row.port
        back &= sport == row.port
    return there | back


def _within(addresses: Halves, network: str) -> Mask:
    prefix = _prefix(network)
    front, back = words(prefix.address)
    front_mask, back_mask = words(prefix.mask)
    apart = (addresses.front ^ front) & front_mask | (addresses.back ^ back) & back_mask
    within: Mask = apart == 0
    return within


def _prefix(text: str) -> _Prefix:
    if not text:
        return _Prefix(_ANY, _ANY)
    try:
        network = parse_network(text, strict=False)
    except ValueError as error:
        raise BadTrace(f"{text!r} is no network") from error
    return _Prefix(write_octets(network.network_address), mask_of(network))


def _version(text: str) -> int:
    return 6 if ":" in text else 4
