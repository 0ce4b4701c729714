"""What differs between two settled clusters.

Settled, Settled  ->  Difference(about, subject, before, after, note)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cairn.diagnose.plan.settled import Settled

NONE = "none"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that an apply would change."""

    about: str
    """address, announcement, proxy or object."""
    subject: str
    """Service, prefix, policy or object."""
    before: str
    """What it is now."""
    after: str
    """What it would be."""
    note: str = ""
    """Why, where that is known."""


def differences(before: Settled, after: Settled) -> list[Difference]:
    """Return all that differs, in a fixed order."""
    return [
        *_addresses(before, after),
        *_announcements(before, after),
        *_proxies(before, after),
        *_objects(before, after),
    ]


def _keys(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> list[Any]:
    return sorted({*one, *other})


def _addresses(before: Settled, after: Settled) -> Iterator[Difference]:
    for key in _keys(before.addresses, after.addresses):
        old = ", ".join(before.addresses.get(key, ())) or NONE
        new = ", ".join(after.addresses.get(key, ())) or NONE
        reason = after.pending.get(key, "")
        if old != new or reason != before.pending.get(key, ""):
            yield Difference("address", f"Service {key}", old, new, reason)


def _announcements(before: Settled, after: Settled) -> Iterator[Difference]:
    for prefix in _keys(before.announced, after.announced):
        old, new = (s.announced.get(prefix, frozenset()) for s in (before, after))
        if old != new:
            yield Difference("announcement", prefix, _list(old), _list(new))


def _list(tellings: frozenset[str]) -> str:
    """Return who tells whom, with all nodes of one peer together."""
    nodes: dict[str, list[str]] = {}
    for telling in sorted(tellings):
        node, _, peer = telling.partition(" to ")
        nodes.setdefault(peer, []).append(node)
    return "; ".join(f"{', '.join(names)} to {peer}" for peer, names in nodes.items()) or NONE


def _proxies(before: Settled, after: Settled) -> Iterator[Difference]:
    for policy, what in sorted(before.proxied ^ after.proxied):
        added = (policy, what) in after.proxied
        yield Difference("proxy", policy, NONE if added else what, what if added else NONE)


def _objects(before: Settled, after: Settled) -> Iterator[Difference]:
    for name in _keys(before.unread, after.unread):
        old, new = before.unread.get(name, ""), after.unread.get(name, "")
        if old != new:
            was, becomes = ("not in force" if text else "in force" for text in (old, new))
            yield Difference("object", name, was, becomes, new or old)
