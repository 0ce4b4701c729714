"""Prefix filters as text: which routes a peer may send us, or get from us.

    "permit 192.168.1.0/24; deny any"  ->  PrefixFilter  ->  permitted or not

A filter is a list of rules, one per line or between `;` or `,`. The first rule that matches
decides; what no rule matches is denied, as in every router's prefix lists. A rule matches a prefix
that lies inside its network, or, with `exact`, only the network itself; `ge N` and `le N` narrow
the prefix length.

Not here    Filters on other attributes than the prefix.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from cairn.net import Network, parse_network

A = TypeVar("A")

SEPARATORS = re.compile(r"[;,\n]+")


class Action(Enum):
    """What a rule does with what it matches."""

    PERMIT = "permit"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class PrefixRule:
    """One rule of a filter."""

    action: Action
    """What happens to a prefix that matches."""
    network: Network | None
    """The prefix must lie inside this network; None matches both families."""
    shortest: int
    """Least prefix length that matches."""
    longest: int
    """Greatest prefix length that matches."""

    def matches(self, prefix: Network) -> bool:
        """Return whether this rule decides about `prefix`."""
        if not self.shortest <= prefix.prefixlen <= self.longest:
            return False
        network = self.network
        if network is None:
            return True
        if network.version != prefix.version or network.prefixlen > prefix.prefixlen:
            return False
        shift = network.max_prefixlen - network.prefixlen
        return int(network.network_address) >> shift == int(prefix.network_address) >> shift

    def __str__(self) -> str:
        words = [self.action.value, "any" if self.network is None else str(self.network)]
        longest = 128 if self.network is None else self.network.max_prefixlen
        if self.shortest > (self.network.prefixlen if self.network else 0):
            words.append(f"ge {self.shortest}")
        if self.longest < longest:
            words.append(f"le {self.longest}")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class PrefixFilter:
    """Rules in order; usable as the import or export filter of a BGP peer."""

    rules: tuple[PrefixRule, ...]
    """The first that matches decides; none: denied."""

    def permits(self, prefix: Network) -> bool:
        """Return whether `prefix` passes."""
        for rule in self.rules:
            if rule.matches(prefix):
                return rule.action is Action.PERMIT
        return False

    def __call__(self, prefix: Network, attributes: A) -> A | None:
        """Return the attributes unchanged if `prefix` passes, else None."""
        return attributes if self.permits(prefix) else None

    def __str__(self) -> str:
        return "; ".join(map(str, self.rules))


def parse_filter(text: str) -> PrefixFilter:
    """Return the filter that `text` spells; raises ValueError that quotes the rule at fault.

    >>> parse_filter("permit 192.168.1.0/24").permits(parse_network("192.168.1.100/32"))
    True
    """
    rules = [parse_rule(part.strip()) for part in SEPARATORS.split(text) if part.strip()]
    if not rules:
        raise ValueError("empty filter: write for example 'permit 192.168.1.0/24' or 'deny any'")
    return PrefixFilter(tuple(rules))


def parse_rule(text: str) -> PrefixRule:
    """Return the rule that `text` spells."""
    words = text.split()
    try:
        action = Action(words[0].lower())
        network = None if words[1].lower() == "any" else parse_network(words[1], strict=False)
        shortest, longest = _lengths(words[2:], network)
    except (IndexError, ValueError) as error:
        raise ValueError(
            f"filter rule {text!r}: want 'permit|deny PREFIX|any [exact | ge N | le N]'"
        ) from error
    return PrefixRule(action, network, shortest, longest)


def host_routes_within(networks: tuple[Network, ...]) -> PrefixFilter:
    """Return the filter that lets only single addresses inside `networks` pass."""
    return PrefixFilter(
        tuple(PrefixRule(Action.PERMIT, n, n.max_prefixlen, n.max_prefixlen) for n in networks)
    )


def _lengths(words: list[str], network: Network | None) -> tuple[int, int]:
    shortest = 0 if network is None else network.prefixlen
    longest: int = 128 if network is None else network.max_prefixlen
    words = [word.lower() for word in words]
    while words:
        match words:
            case ["exact", *words]:
                longest = shortest
            case ["ge", number, *words]:
                shortest = max(shortest, int(number))
            case ["le", number, *words]:
                longest = min(longest, int(number))
            case _:
                raise ValueError(words[0])
    return shortest, longest
