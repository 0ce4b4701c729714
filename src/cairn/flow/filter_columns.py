"""Fields of flow filters that columns alone answer: addresses, ports, verdicts, types, identifiers.

alternatives  ->  Term, or BadFilter
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cairn.flow import drop_reason, identifier
from cairn.flow.address import Records, halves, is_ipv4, mask_of, words, write_octets
from cairn.flow.bad_filter import BadFilter
from cairn.flow.columns import Dictionaries, FlowFlag, FlowKind, FlowVerdict, interface_key
from cairn.flow.event_type import directions, event_types
from cairn.flow.filter_term import Compile, Term
from cairn.flow.key_test import Bools
from cairn.net import parse_address, parse_network

TCP, UDP, SCTP, ICMP, ICMPV6, IGMP, VRRP = 6, 17, 132, 1, 58, 2, 112
HAS_PORTS = (TCP, UDP, SCTP)
LAYER4 = {
    "icmp": (ICMP, ICMPV6),
    "icmpv4": (ICMP,),
    "icmpv6": (ICMPV6,),
    "tcp": (TCP,),
    "udp": (UDP,),
    "sctp": (SCTP,),
    "vrrp": (VRRP,),
    "igmp": (IGMP,),
}
LAYER7 = {"dns": (FlowKind.DNS,), "http": (FlowKind.HTTP,), "tls": (FlowKind.TLS,), "kafka": ()}
NO_TCP_FLAG = 0x100
"""NS, which a column of eight flags has no room for."""


def one_of(column: str) -> Compile:
    """Return a test of a column of numbers."""

    def build(numbers: Sequence[int], _: Dictionaries, __: str) -> Term:
        if len(numbers) == 1:
            only = numbers[0]
            return lambda records: np.asarray(records[column] == only)
        wanted = np.array(sorted(set(numbers)), np.int64)
        return lambda records: np.isin(records[column], wanted)

    return build


def ports(column: str) -> Compile:
    def build(texts: Sequence[str], _: Dictionaries, __: str) -> Term:
        ports = np.array([_port(text) for text in texts], np.uint16)
        if len(ports) == 1:
            return lambda records: (records[column] == ports[0]) & _has_ports(records)
        return lambda records: np.isin(records[column], ports) & _has_ports(records)

    return build


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise BadFilter(f"port {text!r} is not 0 to 65535")
    return int(text)


def _has_ports(records: Records) -> Bools:
    protocol = records["protocol"]
    return np.asarray((protocol == TCP) | (protocol == UDP) | (protocol == SCTP))


def addresses(column: str) -> Compile:
    def build(texts: Sequence[str], _: Dictionaries, __: str) -> Term:
        tests = [_address_test(text) for text in texts]

        def term(records: Records) -> Bools:
            column_halves = halves(records, column)
            held = np.zeros(len(records), np.bool_)
            for value, mask, version in tests:
                found = (column_halves.back & mask[1]) == value[1]
                found &= (column_halves.front & mask[0]) == value[0]
                if version == 6 and found.any():
                    found &= ~is_ipv4(column_halves)
                held |= found
            return held

        return term

    return build


def _address_test(text: str) -> tuple[Any, Any, int]:
    try:
        if "/" in text:
            network = parse_network(text, strict=False)
        else:
            network = parse_network(str(parse_address(text)))
    except ValueError:
        raise BadFilter(
            f"{text!r} is no address and no network: write 10.0.0.1 or 10.0.0.0/8"
        ) from None
    return words(write_octets(network.network_address)), words(mask_of(network)), network.version


def _never(_: Any, __: Dictionaries, ___: str) -> Term:
    return lambda records: np.zeros(len(records), np.bool_)


def translated_source(texts: Sequence[str], dictionaries: Dictionaries, cluster: str) -> Term:
    addresses("source")(texts, dictionaries, cluster)
    return _never(texts, dictionaries, cluster)


def constant(of_all: Any) -> Compile:
    """Return a test of a field that has the same value in every flow."""

    def build(wanted: Sequence[Any], _: Dictionaries, __: str) -> Term:
        holds = of_all in wanted
        return lambda records: np.full(len(records), holds)

    return build


def versions(numbers: Sequence[int], _: Dictionaries, __: str) -> Term:
    def term(records: Records) -> Bools:
        four = is_ipv4(halves(records, "destination"))
        return np.where(four, 1 in numbers, 2 in numbers)

    return term


def protocols(names: Sequence[str], _: Dictionaries, __: str) -> Term:
    numbers: list[int] = []
    kinds: list[int] = []
    for name in names:
        word = name.lower()
        if word not in LAYER4 and word not in LAYER7:
            raise BadFilter(f"protocol {name!r} is none of {', '.join((*LAYER4, *LAYER7))}")
        numbers.extend(LAYER4.get(word, ()))
        kinds.extend(LAYER7.get(word, ()))
    return lambda records: (
        np.isin(records["protocol"], np.array(numbers, np.uint8))
        | np.isin(records["kind"], np.array(kinds, np.uint8))
    )


def replies(wanted: Sequence[bool], _: Dictionaries, __: str) -> Term:
    def term(records: Records) -> Bools:
        flags = records["flags"]
        reply = flags & FlowFlag.REPLY != 0
        unknown = flags & FlowFlag.REPLY_UNKNOWN != 0
        reply &= ~unknown
        known = ~unknown | (records["verdict"] == FlowVerdict.DROPPED)
        return np.asarray(known & np.where(reply, True in wanted, False in wanted))

    return term


def tcp_flags(wanted: Sequence[int], _: Dictionaries, __: str) -> Term:
    possible = np.array([flags for flags in wanted if not flags & NO_TCP_FLAG], np.uint8)

    def term(records: Records) -> Bools:
        found = records["tcp_flags"]
        held = np.zeros(len(records), np.bool_)
        for flags in possible:
            held |= (found & flags) == flags
        held &= (records["protocol"] == TCP) & (records["kind"] < FlowKind.HTTP)
        return held

    return term


def traffic(numbers: Sequence[int], _: Dictionaries, __: str) -> Term:
    wanted = np.array(numbers, np.int64)
    return lambda records: np.isin(directions(records), wanted)


def drop_reasons(numbers: Sequence[int], _: Dictionaries, __: str) -> Term:
    wanted = np.array(numbers, np.int64)
    passes = np.isin(drop_reason.HUBBLE, wanted)
    return lambda records: (records["verdict"] == FlowVerdict.DROPPED) & passes[records["reason"]]


def types(wanted: Sequence[Any], _: Dictionaries, __: str) -> Term:
    def term(records: Records) -> Bools:
        found = event_types(records)
        held = np.zeros(len(records), np.bool_)
        for one in wanted:
            holds = found.type == one.type if one.type else np.ones(len(records), np.bool_)
            if one.match_sub_type:
                holds &= found.sub_type == one.sub_type
            held |= holds
        return held

    return term


def interfaces(wanted: Sequence[Any], dictionaries: Dictionaries, _: str) -> Term:
    names = dictionaries.interfaces

    def holds(node: int, ifindex: int) -> bool:
        name = names.get(interface_key(node, ifindex), "")
        return any(
            (not one.index or one.index == ifindex) and (not one.name or one.name == name)
            for one in wanted
        )

    def term(records: Records) -> Bools:
        keys = records["node"].astype(np.uint64) << np.uint64(32) | records["ifindex"]
        used, where = np.unique(keys, return_inverse=True)
        judged = [
            bool(key & 0xFFFF_FFFF) and holds(key >> 32, key & 0xFFFF_FFFF) for key in used.tolist()
        ]
        return np.array(judged, np.bool_)[where]

    return term


def uuids(texts: Sequence[str], dictionaries: Dictionaries, _: str) -> Term:
    wanted = []
    for text in texts:
        try:
            wanted.append(identifier.parse(text))
        except ValueError:
            raise BadFilter(f"{text!r} is no UUID") from None

    def term(records: Records) -> Bools:
        found = identifier.identifiers(records, dictionaries.nodes)
        held = np.zeros(len(records), np.bool_)
        for high, low in wanted:
            held |= (found.high == np.uint64(high)) & (found.low == np.uint64(low))
        return held

    return term
