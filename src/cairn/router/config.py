"""The router's configuration file: who may peer, from where, and what they may announce.

    YAML text  ->  RouterConfig, or ConfigError that names the field

Units       times in seconds
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import yaml

from cairn.desired.prefix_filter import PrefixFilter, host_routes_within, parse_filter
from cairn.desired.reader import (
    ConfigError,
    flag,
    hold_time,
    many,
    number,
    one_of,
    password,
    record,
    text,
)
from cairn.desired.routes import FAMILIES
from cairn.net import Address, Network, parse_address, parse_network

INTERNAL = "internal"
EXTERNAL = "external"

NO_DEFAULT_ROUTE = parse_filter("deny 0.0.0.0/0 exact; deny ::/0 exact; permit any")
"""What peers may announce unless told otherwise: a node must not take over the way out."""


@dataclass(frozen=True, slots=True)
class PeerGroup:
    """All who may peer from one network; a new node needs no change here."""

    name: str
    """Appears in logs and views."""
    prefix: Network
    """Source addresses that belong to the group."""
    remote_asn: int | str = INTERNAL
    """A number, "internal" (our own) or "external" (any other)."""
    password: str | None = None
    """TCP MD5 key that all members share."""
    families: tuple[str, ...] = ()
    """Address families to negotiate; empty: both, whatever the prefix is of."""
    hold_time_s: int = 90
    """Proposed hold time; the lower of both ends' holds."""
    max_prefixes: int | None = 10_000
    """A member that sends more loses its session."""
    accept: tuple[Network, ...] = ()
    """If not empty: only single addresses inside these networks are accepted."""
    import_filter: PrefixFilter | None = None
    """What is accepted, if `accept` is empty; None: all but a default route."""

    def accepts(self) -> PrefixFilter:
        """Return the filter for what members announce."""
        if self.accept:
            return host_routes_within(self.accept)
        return self.import_filter or NO_DEFAULT_ROUTE

    def negotiates(self) -> tuple[str, ...]:
        """Return the address families to offer."""
        return self.families or FAMILIES


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """Everything that `cairn router` is told."""

    asn: int
    """Our autonomous system."""
    router_id: IPv4Address
    """BGP identifier."""
    groups: tuple[PeerGroup, ...]
    """Who may peer."""
    listen: tuple[Address, ...] = ()
    """Local addresses to listen on; empty: all."""
    port: int = 179
    """TCP port to listen on."""
    multipath: int = 16
    """Most next hops of one route."""
    metric: int = 20
    """Metric of our routes in the kernel."""
    restart_grace_s: int = 30
    """How long routes of an earlier run stay while their peers come back."""
    firewall: bool = True
    """Whether to guard the port with nftables."""


def load_router_config(content: str) -> RouterConfig:
    """Return the configuration that a YAML text holds."""
    try:
        raw = yaml.safe_load(content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{where}{problem}") from error
    config = READ_CONFIG(raw)
    if not config.groups:
        raise ConfigError("config.groups: no peer group: nobody could ever peer")
    return config


def _remote_asn(raw: Any) -> int | str:
    return one_of(INTERNAL, EXTERNAL)(raw) if isinstance(raw, str) else ASN(raw)


ASN = number(1, 0xFFFFFFFF)

READ_GROUP = record(
    PeerGroup,
    "groups[]",
    {
        "name": text,
        "prefix": parse_network,
        "remote_asn": _remote_asn,
        "password": password,
        "families": many(one_of(*FAMILIES)),
        "hold_time_s": hold_time,
        "max_prefixes": number(1, 0xFFFFFFFF),
        "accept": many(parse_network),
        "import_filter": parse_filter,
    },
)

READ_CONFIG = record(
    RouterConfig,
    "config",
    {
        "asn": ASN,
        "router_id": lambda raw: IPv4Address(text(raw)),
        "groups": many(READ_GROUP),
        "listen": many(parse_address),
        "port": number(1, 65535),
        "multipath": number(1, 128),
        "metric": number(0, 0xFFFFFFFF),
        "restart_grace_s": number(0, 3600),
        "firewall": flag,
    },
)
