"""Fields of a policy, read strictly: what is not understood refuses the whole policy.

    raw JSON value, path  ->  value of the type that belongs there, or InvalidPolicy

Invariants  A value of another type, an unknown field and a value out of bounds are never skipped.
            null is the same as absent, as for the API server.
Standards   Kubernetes API conventions; label syntax of apimachinery/util/validation
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cairn.kube.finding import Finding
from cairn.kube.policy.rule import NAMESPACE_LABEL, InvalidPolicy
from cairn.kube.policy.share import share
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.net import Network, parse_address, parse_network

Fields = Mapping[str, Any]
"""Fields of one JSON object that are set."""
Notes = list[Finding]
"""Gathers what is read otherwise than written."""

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_PLAIN = re.compile(r"[\w./-]{1,63}")
_SHOWN = 80
LONGEST_NAME = 63
LONGEST_PREFIX = 253
MAPPED = parse_network("::ffff:0:0/96")
"""IPv4 addresses in IPv6's clothes, which no packet carries."""


def show(raw: object) -> str:
    """Return a value as a sentence can quote it, cut if it is long."""
    text = repr(raw)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def fields(raw: object, path: str, known: frozenset[str]) -> Fields:
    """Return the fields that are set; raises InvalidPolicy for one that is not known."""
    if not isinstance(raw, Mapping):
        raise InvalidPolicy(path, f"{show(raw)} is not an object")
    for key in raw:
        if key not in known:
            words = ", ".join(sorted(known))
            plain = isinstance(key, str) and _PLAIN.fullmatch(key)
            raise InvalidPolicy(
                f"{path}.{key}" if plain else path,
                f"{'' if plain else f'{show(key)} is an '}unknown field; known here: {words}",
            )
    return {key: value for key, value in raw.items() if value is not None}


def items(raw: object, path: str) -> Sequence[object]:
    """Return a list; raises InvalidPolicy if it is none."""
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        raise InvalidPolicy(path, f"{show(raw)} is not a list")
    return raw


def text(raw: object, path: str) -> str:
    """Return a string that is not empty."""
    if not isinstance(raw, str) or not raw:
        raise InvalidPolicy(path, f"{show(raw)} is not a text: write one")
    return raw


def flag(raw: object, path: str) -> bool:
    """Return a boolean."""
    if not isinstance(raw, bool):
        raise InvalidPolicy(path, f"{show(raw)} is neither true nor false")
    return raw


def number(raw: object, path: str, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`."""
    if isinstance(raw, bool) or not isinstance(raw, int) or not low <= raw <= high:
        raise InvalidPolicy(path, f"{show(raw)} is not a whole number from {low} to {high}")
    return raw


def choice(raw: object, path: str, words: Sequence[str]) -> str:
    """Return one of `words`."""
    if not isinstance(raw, str) or raw not in words:
        raise InvalidPolicy(path, f"{show(raw)} is unknown; known here: {', '.join(words)}")
    return raw


def network(raw: object, path: str, notes: Notes, *, bare: bool = False) -> Network:
    """Return a network, its host bits cleared, which is noted; `bare` allows one address alone."""
    written = text(raw, path)
    example = "write one as 192.0.2.0/24 or 2001:db8::/32"
    if "%" in written or (not bare and "/" not in written):
        raise InvalidPolicy(path, f"{show(raw)} is not a network: {example}")
    if not written.partition("/")[2].isdecimal() and "/" in written:
        raise InvalidPolicy(path, f"{show(raw)} is not a network: {example}")
    try:
        parsed = parse_network(written, strict=False)
    except ValueError:
        raise InvalidPolicy(path, f"{show(raw)} is not a network: {example}") from None
    if parsed.version == MAPPED.version and parsed.overlaps(MAPPED) and parsed.prefixlen >= 96:
        raise InvalidPolicy(path, f"{show(raw)} is IPv4 written as IPv6: write it as IPv4")
    if parse_address(written.partition("/")[0]) != parsed.network_address:
        said = f"{path}: {written} has host bits set and is read as {parsed}; write that, or /"
        notes.append(Finding("HostBits", f"{said}{parsed.max_prefixlen} for the one address"))
    return parsed


def networks(raw: object, path: str, notes: Notes, within: Network) -> tuple[Network, ...]:
    """Return the exceptions of a network; each must be a part of it."""
    found = []
    for place, item in enumerate(items(raw, path)):
        part = network(item, f"{path}[{place}]", notes, bare=True)
        if part.version != within.version or not _holds(within, part):
            raise InvalidPolicy(f"{path}[{place}]", f"{part} is not a part of {within}")
        found.append(part)
    return tuple(found)


def _holds(whole: Network, part: Network) -> bool:
    shift = whole.max_prefixlen - whole.prefixlen
    same = int(whole.network_address) >> shift == int(part.network_address) >> shift
    return part.prefixlen > whole.prefixlen and same


def plain_key(key: str, path: str) -> str:
    """Return a label key as it is; raises InvalidPolicy if it names a source."""
    if ":" in key:
        raise InvalidPolicy(path, f"{show(key)} is not the key of a label: leave out the prefix")
    return key


def selector(raw: object, path: str, rename: Callable[[str, str], str] = plain_key) -> Selector:
    """Return a label selector; `rename` turns a key that stands at a path into the flat one."""
    found = fields(raw, path, frozenset({"matchLabels", "matchExpressions"}))
    where = f"{path}.matchLabels"
    labels = found.get("matchLabels", {})
    if not isinstance(labels, Mapping):
        raise InvalidPolicy(where, f"{show(labels)} is not an object")
    requirements = [
        share(
            Requirement(
                _key(key, where, rename), Operator.IN, frozenset({_value(value, f"{where}.{key}")})
            )
        )
        for key, value in sorted(labels.items(), key=lambda pair: str(pair[0]))
    ]
    where = f"{path}.matchExpressions"
    for place, item in enumerate(items(found.get("matchExpressions"), where)):
        requirements.append(_requirement(item, f"{where}[{place}]", rename))
    return Selector(tuple(requirements))


def _requirement(raw: object, path: str, rename: Callable[[str, str], str]) -> Requirement:
    found = fields(raw, path, frozenset({"key", "operator", "values"}))
    key = _key(found.get("key"), f"{path}.key", rename)
    operator = Operator(choice(found.get("operator"), f"{path}.operator", tuple(Operator)))
    where = f"{path}.values"
    values = frozenset(
        _value(value, f"{where}[{place}]")
        for place, value in enumerate(items(found.get("values"), where))
    )
    if bool(values) != (operator in (Operator.IN, Operator.NOT_IN)):
        rule = "takes no values" if values else "needs values"
        raise InvalidPolicy(where, f"operator {operator} {rule}")
    return share(Requirement(key, operator, values))


def _key(raw: object, path: str, rename: Callable[[str, str], str]) -> str:
    key = rename(text(raw, path), path)
    plain = key.rpartition(":")[2].removeprefix(NAMESPACE_LABEL)
    prefix, slash, name = plain.rpartition("/")
    good = len(name) <= LONGEST_NAME and len(prefix) <= LONGEST_PREFIX
    good = good and _NAME.fullmatch(name) is not None
    if not good or (slash and not _PREFIX.fullmatch(prefix)):
        raise InvalidPolicy(path, f"{show(raw)} is not the key of a label")
    return key


def _value(raw: object, path: str) -> str:
    if not isinstance(raw, str):
        raise InvalidPolicy(path, f"{show(raw)} is not a text: quote it")
    if raw and (len(raw) > LONGEST_NAME or not _NAME.fullmatch(raw)):
        raise InvalidPolicy(
            path,
            f"{show(raw)} is not the value of a label: at most {LONGEST_NAME} letters, digits, "
            "'-', '_' and '.', with a letter or digit at both ends",
        )
    return raw
