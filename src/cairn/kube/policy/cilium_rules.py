"""What a Cilium rule allows above layer 4: requests, names, TLS server names.

    rules.http, rules.dns, serverNames  ->  HttpRule, DnsRule, names, or InvalidPolicy

Standards   cilium.io/v2 PortRuleHTTP, PortRuleDNS; RFC 9110 s5.1, s9.1 (header names, methods)
"""

import re

from cairn.kube.policy.field import choice, fields, items, show, text
from cairn.kube.policy.fqdn import read_fqdn, read_pattern
from cairn.kube.policy.regex import check_regex
from cairn.kube.policy.rule import DnsRule, HeaderMatch, HttpRule, InvalidPolicy

MISMATCHES = ("LOG", "ADD", "DELETE", "REPLACE")

_HTTP = frozenset({"method", "path", "host", "headers", "headerMatches"})
_MATCH = frozenset({"name", "value", "mismatch", "secret"})
_TOKEN = re.compile(r":?[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def read_http(raw: object, path: str) -> tuple[HttpRule, ...]:
    """Return the requests that are allowed."""
    listed = items(raw, path)
    if not listed:
        raise InvalidPolicy(path, "is empty: write which requests are allowed, {} for all")
    return tuple(_request(item, f"{path}[{place}]") for place, item in enumerate(listed))


def read_dns(raw: object, path: str) -> tuple[DnsRule, ...]:
    """Return the names that may be asked for."""
    listed = items(raw, path)
    if not listed:
        raise InvalidPolicy(path, 'is empty: write which names, matchPattern "*" for all')
    return tuple(DnsRule(*read_fqdn(item, f"{path}[{place}]")) for place, item in enumerate(listed))


def read_server_names(raw: object, path: str) -> tuple[str, ...]:
    """Return the TLS server names that are allowed; empty: no condition."""
    return tuple(
        read_pattern(item, f"{path}[{place}]") for place, item in enumerate(items(raw, path))
    )


def _request(raw: object, path: str) -> HttpRule:
    found = fields(raw, path, _HTTP)
    for name in ("method", "path", "host"):
        if name in found:
            check_regex(found[name], f"{path}.{name}")
    headers = [
        _header(item, f"{path}.headers[{place}]")
        for place, item in enumerate(items(found.get("headers"), f"{path}.headers"))
    ]
    headers += [
        _header_match(item, f"{path}.headerMatches[{place}]")
        for place, item in enumerate(items(found.get("headerMatches"), f"{path}.headerMatches"))
    ]
    return HttpRule(
        method=found.get("method", ""),
        path=found.get("path", ""),
        host=found.get("host", ""),
        headers=tuple(headers),
    )


def _header(raw: object, path: str) -> HeaderMatch:
    """Return the condition that `Name` (it is there) or `Name: value` (just so) spells."""
    name, colon, value = text(raw, path).partition(" ")
    if name.endswith(":"):
        name = name[:-1]
    elif ":" in name[1:]:
        name, _, value = name.partition(":")
        colon = ":"
    value = value.strip()
    return HeaderMatch(_header_name(name, path), _header_value(value, path) if colon else None)


def _header_match(raw: object, path: str) -> HeaderMatch:
    found = fields(raw, path, _MATCH)
    name = _header_name(text(found.get("name"), f"{path}.name"), f"{path}.name")
    mismatch = found.get("mismatch", "")
    if mismatch != "":
        choice(mismatch, f"{path}.mismatch", MISMATCHES)
    secret: tuple[str, str] | None = None
    if "secret" in found:
        where = f"{path}.secret"
        named = fields(found["secret"], where, frozenset({"namespace", "name"}))
        secret = (
            text(named.get("namespace"), f"{where}.namespace"),
            text(named.get("name"), f"{where}.name"),
        )
    value = found.get("value", "")
    if not isinstance(value, str):
        raise InvalidPolicy(f"{path}.value", f"{show(value)} is not a text: quote it")
    if value and secret:
        raise InvalidPolicy(path, "value and secret exclude each other: write one of them")
    if mismatch in ("ADD", "REPLACE") and not value and not secret:
        raise InvalidPolicy(f"{path}.mismatch", f"{mismatch} needs a value or a secret")
    return HeaderMatch(name, _header_value(value, f"{path}.value") or None, mismatch, secret)


def _header_name(raw: str, path: str) -> str:
    if not _TOKEN.fullmatch(raw):
        raise InvalidPolicy(path, f"{show(raw)} is not the name of a header")
    return raw.lower()


def _header_value(raw: str, path: str) -> str:
    if _CONTROL.search(raw):
        raise InvalidPolicy(path, f"{show(raw)} has control characters")
    return raw
