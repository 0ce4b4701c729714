"""The JSON form of a speaker's desired state: one line on its socket, one file beside it.

    SpeakerConfig  <->  bytes, one JSON object on one line

Invariants  load(save(x)) == x; a field with its default value is left out when saving.
            Loading raises ConfigError, and nothing else, with the path of the field at fault.
"""

from dataclasses import fields
from ipaddress import IPv4Address
from typing import Any

import msgspec

from cairn.desired.prefix_filter import parse_filter
from cairn.desired.reader import (
    ConfigError,
    Read,
    hold_time,
    many,
    number,
    one_of,
    password,
    record,
    text,
)
from cairn.desired.routes import (
    FAMILIES,
    Announcement,
    BfdNeighbour,
    PeerSpec,
    SpeakerConfig,
)
from cairn.net import parse_address, parse_network

__all__ = ["ConfigError", "load_config", "read_config", "save_config"]


def save_config(config: SpeakerConfig) -> bytes:
    """Return the configuration as one line of JSON, with its newline."""
    return msgspec.json.encode(_plain(config)) + b"\n"


def load_config(line: bytes) -> SpeakerConfig:
    """Return the configuration that `line` holds."""
    try:
        raw = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise ConfigError(f"speaker configuration: {error}") from error
    return read_config(raw)


def read_config(raw: Any) -> SpeakerConfig:
    """Return the configuration that a decoded JSON object holds."""
    config = CONFIG(raw)
    names = [peer.name for peer in config.peers]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"config.peers: name {sorted(twice)[0]!r} is used twice")
    for neighbour in config.bfd:
        if neighbour.address.version != neighbour.source.version:
            raise ConfigError(f"config.bfd[]: {neighbour.address} and its source differ in family")
    return config


def parse_community(text: str) -> int:
    """Return the RFC 1997 community that "ASN:VALUE" or a well-known name spells."""
    if text in WELL_KNOWN:
        return WELL_KNOWN[text]
    high, separator, low = text.partition(":")
    if not separator or not (0 <= int(high) <= 0xFFFF and 0 <= int(low) <= 0xFFFF):
        raise ValueError(f"{text!r} is not a community: want 64512:100 or a well-known name")
    return int(high) << 16 | int(low)


def parse_large_community(text: str) -> tuple[int, int, int]:
    """Return the RFC 8092 community that "ASN:A:B" spells."""
    parts = [int(part) for part in text.split(":")]
    if len(parts) != 3 or not all(0 <= part <= 0xFFFFFFFF for part in parts):
        raise ValueError(f"{text!r} is not a large community: want 64512:1:2")
    return parts[0], parts[1], parts[2]


WELL_KNOWN = {
    "graceful-shutdown": 0xFFFF0000,
    "blackhole": 0xFFFF029A,
    "no-export": 0xFFFFFF01,
    "no-advertise": 0xFFFFFF02,
    "no-export-subconfed": 0xFFFFFF03,
    "no-peer": 0xFFFFFF04,
}
"""Names of RFC 1997, RFC 3765, RFC 7999 and RFC 8326."""


ASN = number(1, 0xFFFFFFFF)

PEER_FIELDS: dict[str, Read] = {
    "name": text,
    "address": parse_address,
    "remote_asn": ASN,
    "local_asn": ASN,
    "port": number(1, 65535),
    "source": parse_address,
    "hold_time_s": hold_time,
    "keepalive_s": number(1, 65535),
    "connect_retry_s": number(1, 65535),
    "password": password,
    "families": many(one_of(*FAMILIES)),
    "next_hops": many(parse_address),
    "graceful_restart_s": number(1, 4095),
    "max_prefixes": number(1, 0xFFFFFFFF),
    "ttl": number(1, 255),
    "import_filter": parse_filter,
    "export_filter": parse_filter,
}

ROUTE_FIELDS: dict[str, Read] = {
    "prefix": parse_network,
    "next_hop": parse_address,
    "local_pref": number(0, 0xFFFFFFFF),
    "med": number(0, 0xFFFFFFFF),
    "communities": many(parse_community),
    "large_communities": many(parse_large_community),
    "weight": number(1, 1_000_000),
}

BFD_FIELDS: dict[str, Read] = {
    "address": parse_address,
    "source": parse_address,
    "interval_ms": number(10, 60_000),
    "multiplier": number(1, 255),
}

CONFIG = record(
    SpeakerConfig,
    "config",
    {
        "router_id": lambda raw: str(IPv4Address(text(raw))),
        "asn": ASN,
        "peers": many(record(PeerSpec, "peers[]", PEER_FIELDS)),
        "routes": many(record(Announcement, "routes[]", ROUTE_FIELDS)),
        "bfd": many(record(BfdNeighbour, "bfd[]", BFD_FIELDS)),
    },
)


def _plain(value: SpeakerConfig | PeerSpec | Announcement | BfdNeighbour) -> dict[str, Any]:
    """Return the fields that differ from their defaults, in JSON's types."""
    plain: dict[str, Any] = {}
    for field in fields(value):
        item = getattr(value, field.name)
        if item != field.default:
            plain[field.name] = _plain_item(field.name, item)
    return plain


def _plain_item(name: str, item: Any) -> Any:
    match name:
        case "peers" | "routes" | "bfd":
            return [_plain(one) for one in item]
        case "communities":
            return [f"{number >> 16}:{number & 0xFFFF}" for number in item]
        case "large_communities":
            return [":".join(map(str, parts)) for parts in item]
    if isinstance(item, tuple):
        return [str(one) for one in item]
    return item if isinstance(item, str | int) or item is None else str(item)
