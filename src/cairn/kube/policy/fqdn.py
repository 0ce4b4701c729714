"""Names and patterns of names, as toFQDNs and rules.dns write them.

    matchName, matchPattern  ->  (name, pattern) in lower case, or InvalidPolicy

Standards   RFC 1035 s2.3.4 (lengths), RFC 4343 (case); Cilium FQDNSelector
"""

import re

from cairn.kube.policy.field import fields, show, text
from cairn.kube.policy.rule import InvalidPolicy

LONGEST = 253
LONGEST_LABEL = 63
DEEP = "**."
"""Prefix of a pattern: one or more labels."""

_FIELDS = frozenset({"matchName", "matchPattern"})
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
_PATTERN = re.compile(r"[a-z0-9_*-]+(?:\.[a-z0-9_*-]+)*", re.ASCII)


def read_fqdn(raw: object, path: str) -> tuple[str, str]:
    """Return the name and the pattern that an item holds; one of them is empty."""
    found = fields(raw, path, _FIELDS)
    if len(found) != 1:
        raise InvalidPolicy(path, "needs matchName or matchPattern, and not both")
    if "matchName" in found:
        return _name(found["matchName"], f"{path}.matchName"), ""
    return "", read_pattern(found["matchPattern"], f"{path}.matchPattern")


def read_pattern(raw: object, path: str) -> str:
    """Return a pattern of names: `*` for any characters but the dot, `**.` in front for labels."""
    pattern = text(raw, path).lower().removesuffix(".")
    rest = pattern.removeprefix(DEEP)
    if not _PATTERN.fullmatch(pattern) or "**" in rest or not _fits(pattern):
        raise InvalidPolicy(
            path, f"{show(raw)} is not a pattern of names: write one as *.example.com"
        )
    return pattern


def _name(raw: object, path: str) -> str:
    name = text(raw, path).lower().removesuffix(".")
    if "*" in name:
        raise InvalidPolicy(path, f"{show(raw)} has a *: write it as matchPattern")
    if not _NAME.fullmatch(name) or not _fits(name):
        raise InvalidPolicy(path, f"{show(raw)} is not a name of the DNS")
    return name


def _fits(name: str) -> bool:
    return len(name) <= LONGEST and all(
        0 < len(label) <= LONGEST_LABEL for label in name.split(".")
    )
