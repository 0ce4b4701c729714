"""Ports of a Cilium rule, and what is said over them.

    toPorts, icmps  ->  Traffic(path, matches, http, dns, server names, rate), one per rule to make

Invariants  Conditions above layer 4 are read or refused, never left out.
            A port with a rate limit is traffic of its own.
Standards   cilium.io/v2 PortRule, PortProtocol, L7Rules, ICMPRule
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cairn.kube.policy.cilium_rules import read_dns, read_http, read_server_names
from cairn.kube.policy.field import Fields, choice, fields, items, number
from cairn.kube.policy.icmp import read_icmp
from cairn.kube.policy.port import port_range
from cairn.kube.policy.rule import (
    Direction,
    DnsRule,
    HttpRule,
    InvalidPolicy,
    Match,
    PortMatch,
    ProtocolMatch,
    RateLimit,
)
from cairn.net import Protocol

PORTLESS = {"ICMP": 1, "IGMP": 2, "ICMPv6": 58, "ICMPV6": 58, "VRRP": 112}
"""Protocols without ports, by number."""
ANY = "ANY"
HIGHEST_RATE = 2**32 - 1
PROTOCOLS = (*(protocol.name for protocol in Protocol), *PORTLESS, ANY)

_ALLOWED = frozenset({"ports", "rules", "serverNames"})
_DENIED = frozenset({"ports"})
_ABOVE = frozenset({"rules", "serverNames", "listener", "terminatingTLS", "originatingTLS"})
_PORT = frozenset({"port", "endPort", "protocol", "rateLimit"})
_RULES = frozenset({"http", "dns"})
_REFUSED = {
    "listener": "sending traffic to a listener of one's own is not supported: remove it",
    "terminatingTLS": "TLS is not ended in between: remove it, or use serverNames",
    "originatingTLS": "TLS is not begun in between: remove it",
    "kafka": "Kafka requests are not understood: allow the port without rules",
    "l7proto": "parsers of one's own are not supported: allow the port without rules",
    "l7": "parsers of one's own are not supported: allow the port without rules",
}


@dataclass(frozen=True, slots=True)
class Traffic:
    """Ports, with the conditions on what passes through them."""

    path: str
    """Where it stands, below the rule: `toPorts[1]`."""
    matches: tuple[Match, ...]
    """Any of them."""
    http: tuple[HttpRule, ...] | None = None
    """Requests that are allowed."""
    dns: tuple[DnsRule, ...] | None = None
    """Names that may be asked for."""
    server_names: tuple[str, ...] = ()
    """TLS server names that are allowed."""
    rate: RateLimit | None = None
    """Limit on it."""


def read_traffic(
    found: Fields, path: str, direction: Direction, *, denies: bool
) -> tuple[Traffic, ...]:
    """Return the traffic of one rule; empty: it says nothing of ports."""
    ports = items(found.get("toPorts"), f"{path}.toPorts")
    icmps = items(found.get("icmps"), f"{path}.icmps")
    if ports and icmps:
        raise InvalidPolicy(path, "toPorts and icmps stand in one rule: write a rule for each")
    read = [
        traffic
        for place, raw in enumerate(ports)
        for traffic in _port_rule(raw, path, f"toPorts[{place}]", direction, denies=denies)
    ]
    read += [_icmps(raw, path, f"icmps[{place}]") for place, raw in enumerate(icmps)]
    return tuple(read)


def _icmps(raw: object, path: str, place: str) -> Traffic:
    where = f"{path}.{place}.fields"
    listed = items(fields(raw, f"{path}.{place}", frozenset({"fields"})).get("fields"), where)
    if not listed:
        raise InvalidPolicy(where, "is empty: write which messages are meant")
    return Traffic(
        place, tuple(read_icmp(item, f"{where}[{index}]") for index, item in enumerate(listed))
    )


def _port_rule(
    raw: object, path: str, place: str, direction: Direction, *, denies: bool
) -> Iterator[Traffic]:
    where = f"{path}.{place}"
    known = _DENIED if denies else _ALLOWED
    refused = _ABOVE if denies else frozenset(_REFUSED)
    found = fields(raw, where, known | refused)
    for name in sorted(found.keys() & refused):
        reason = "rules that deny end at layer 4" if denies else _REFUSED[name]
        raise InvalidPolicy(f"{where}.{name}", reason)
    listed = items(found.get("ports"), f"{where}.ports")
    if not listed:
        raise InvalidPolicy(
            f"{where}.ports", "is empty: write which ports are meant, or leave toPorts out for all"
        )
    ports = [_port(item, f"{where}.ports[{index}]") for index, item in enumerate(listed)]
    http, dns = _rules(found.get("rules"), f"{where}.rules", ports, direction)
    names = _server_names(found, where, ports)
    plain: list[Match] = []
    for index, (match, rate) in enumerate(ports):
        if rate is None:
            plain.append(match)
            continue
        spot = f"ports[{index}].rateLimit"
        if denies or direction is Direction.EGRESS:
            raise InvalidPolicy(
                f"{where}.{spot}", "limits what pods take in: it belongs to a rule of ingress"
            )
        yield Traffic(f"{place}.ports[{index}]", (match,), http, dns, names, rate)
    if plain:
        yield Traffic(place, tuple(plain), http, dns, names)


Port = tuple[Match, RateLimit | None]


def _port(raw: object, path: str) -> Port:
    found = fields(raw, path, _PORT)
    if "port" not in found:
        raise InvalidPolicy(f"{path}.port", 'is missing: write its number or name, or "0" for all')
    word = choice(found.get("protocol", ANY), f"{path}.protocol", PROTOCOLS)
    port = _number(found["port"])
    match: Match
    if word in PORTLESS:
        if port != 0 or found.get("endPort"):
            raise InvalidPolicy(f"{path}.port", f'{word} has no ports: write "0"')
        match = ProtocolMatch(PORTLESS[word])
    else:
        match = _range(port, found.get("endPort"), word, path)
    if "rateLimit" not in found:
        return match, None
    if not isinstance(match, PortMatch) or match.protocol is Protocol.SCTP:
        raise InvalidPolicy(f"{path}.rateLimit", f"{word} is not limited: only TCP and UDP are")
    return match, _rate(found["rateLimit"], f"{path}.rateLimit")


def _number(raw: object) -> object:
    if isinstance(raw, str) and raw.isascii() and raw.isdecimal() and len(raw) <= 5:
        return int(raw)
    return raw


def _range(port: object, end: object, word: str, path: str) -> PortMatch:
    protocol = None if word == ANY else Protocol[word]
    if port == 0 and not isinstance(port, bool):
        if end:
            raise InvalidPolicy(f"{path}.endPort", "port 0 is all ports and begins no range")
        return PortMatch(protocol)
    if end == 0 and not isinstance(end, bool):
        end = None
    return port_range(port, end, protocol, path)


def _rate(raw: object, path: str) -> RateLimit:
    found = fields(raw, path, frozenset({"requestsPerSecond", "burst", "scope"}))
    where = f"{path}.requestsPerSecond"
    rate = number(found.get("requestsPerSecond"), where, 1, HIGHEST_RATE)
    burst = number(found.get("burst", rate), f"{path}.burst", 1, HIGHEST_RATE)
    scope = choice(found.get("scope", "source"), f"{path}.scope", ("source", "total"))
    return RateLimit(rate, burst, total=scope == "total")


def _rules(
    raw: object, path: str, ports: list[Port], direction: Direction
) -> tuple[tuple[HttpRule, ...] | None, tuple[DnsRule, ...] | None]:
    if raw is None:
        return None, None
    found = fields(raw, path, _RULES | {"kafka", "l7proto", "l7"})
    for name in sorted(found.keys() - _RULES):
        raise InvalidPolicy(f"{path}.{name}", _REFUSED[name])
    if len(found) > 1:
        raise InvalidPolicy(path, "http and dns stand together: write an item of toPorts for each")
    if "http" in found:
        _only_tcp(ports, f"{path}.http")
        return read_http(found["http"], f"{path}.http"), None
    if "dns" in found:
        if direction is Direction.INGRESS:
            raise InvalidPolicy(f"{path}.dns", "names are asked for by pods: write it under egress")
        _only_dns(ports, f"{path}.dns")
        return None, read_dns(found["dns"], f"{path}.dns")
    return None, None


def _server_names(found: Fields, path: str, ports: list[Port]) -> tuple[str, ...]:
    where = f"{path}.serverNames"
    names = read_server_names(found.get("serverNames"), where)
    if names:
        if found.get("rules"):
            raise InvalidPolicy(where, "needs TLS, in which rules see nothing: write one of them")
        _only_tcp(ports, where)
    return names


def _only_tcp(ports: list[Port], path: str) -> None:
    for match, _ in ports:
        if isinstance(match, PortMatch) and match.protocol is Protocol.TCP:
            if match.name or match.last - match.first < 65535:
                continue
            raise InvalidPolicy(path, 'port "0" is all ports: name those that speak it')
        raise InvalidPolicy(path, "needs protocol: TCP at each of its ports")


def _only_dns(ports: list[Port], path: str) -> None:
    for match, _ in ports:
        if not isinstance(match, PortMatch) or match.protocol is Protocol.SCTP:
            raise InvalidPolicy(path, "needs protocol: UDP, TCP or ANY at each of its ports")
