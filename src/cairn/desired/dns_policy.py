"""What the DNS proxy of a node should do: which names may be asked where, which names to learn.

    the agent  ->  DnsPolicy  <->  one JSON object on one line  ->  cairn dns

Invariants  load(save(x)) == x. Loading raises ConfigError, and nothing else, with the path of the
            field at fault.
Units       ports in host order
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cairn.desired.reader import ConfigError, many, number, record
from cairn.kube.policy.rule import DnsRule, FqdnPeer

PORT = number(1, 65535)
IDENTITY = number(1, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class DnsPolicy:
    """One node's state."""

    listeners: Mapping[int, tuple[DnsRule, ...]] = field(default_factory=dict)
    """Names that may be asked for, by the loopback port that such queries are steered to; no rule
    allows no name."""
    selectors: Mapping[FqdnPeer, int] = field(default_factory=dict)
    """Identity of each selector of names, which an address learnt for such a name gets."""


@dataclass(frozen=True, slots=True)
class _Listener:
    port: int
    rules: tuple[DnsRule, ...] = ()


@dataclass(frozen=True, slots=True)
class _Selector:
    identity: int
    name: str = ""
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    listeners: tuple[_Listener, ...] = ()
    selectors: tuple[_Selector, ...] = ()


def save_dns_policy(policy: DnsPolicy) -> bytes:
    """Return the state as one line of JSON, with its newline."""
    plain = {
        "listeners": [
            {"port": port, "rules": [_spell(rule.name, rule.pattern) for rule in rules]}
            for port, rules in policy.listeners.items()
        ],
        "selectors": [
            {"identity": identity, **_spell(peer.name, peer.pattern)}
            for peer, identity in policy.selectors.items()
        ],
    }
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


def load_dns_policy(line: bytes) -> DnsPolicy:
    """Return the state that `line` holds."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"DNS policy: not a JSON object: {error}") from error
    return read_dns_policy(raw)


def read_dns_policy(raw: Any) -> DnsPolicy:
    """Return the state that a decoded JSON object holds."""
    found = LINE(raw)
    ports = [listener.port for listener in found.listeners]
    if len(set(ports)) != len(ports):
        raise ConfigError("policy.listeners[].port: a port is used twice")
    for selector in found.selectors:
        if bool(selector.name) == bool(selector.pattern):
            raise ConfigError("policy.selectors[]: either name or pattern is wanted")
    return DnsPolicy(
        {listener.port: listener.rules for listener in found.listeners},
        {FqdnPeer(one.name, one.pattern): one.identity for one in found.selectors},
    )


def _spell(name: str, pattern: str) -> dict[str, str]:
    return {"name": name} if name else {"pattern": pattern}


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{raw!r} is not a text")
    return raw


LINE = record(
    _Line,
    "policy",
    {
        "listeners": many(
            record(
                _Listener,
                "listeners[]",
                {
                    "port": PORT,
                    "rules": many(record(DnsRule, "rules[]", {"name": _text, "pattern": _text})),
                },
            )
        ),
        "selectors": many(
            record(
                _Selector, "selectors[]", {"identity": IDENTITY, "name": _text, "pattern": _text}
            )
        ),
    },
)
