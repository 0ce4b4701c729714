"""Whether the rules that a proxy applies let a request pass.

Redirect, Request  ->  the rule that allows it, or None

Standards   Paths are matched with their query, as Envoy has them in `:path`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cairn.desired.policy import Redirect
from cairn.diagnose.policy.miss import same_name
from cairn.kube.policy.rule import DnsRule, FqdnPeer, HeaderMatch, HttpRule


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked on a connection."""

    method: str = ""
    """Of an HTTP request; "" if none is meant."""
    path: str = "/"
    """With its query."""
    host: str = ""
    """Without a port."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case."""
    dns: str = ""
    """Name that is asked for; "" if none is."""
    server_name: str = ""
    """Name in the TLS greeting."""


class BadRequest(ValueError):
    """Text that spells no request."""


def parse_request(text: str, headers: Mapping[str, str] | None = None) -> Request:
    """Return the request that `GET /path` or `GET http://host/path` spells; raises BadRequest."""
    words = text.split()
    if len(words) != 2 or not words[0].isalpha():
        raise BadRequest(f"{text!r} is no request: write 'GET /path' or 'GET http://host/path'")
    method, target = words[0].upper(), words[1]
    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given = {name.lower(): value for name, value in (headers or {}).items()}
    host = parts.hostname or given.get("host", "").split(":")[0]
    return Request(method, path, host, given)


def allows(redirect: Redirect, request: Request) -> bool | None:
    """Return whether a request passes; None if the proxy does not look at such requests."""
    if request.dns and redirect.dns is not None:
        return any(asks(rule, request.dns) for rule in redirect.dns)
    if request.method and redirect.http is not None:
        return any(admits(rule, request) for rule in redirect.http)
    if request.server_name and redirect.server_names:
        return any(_server(name, request.server_name) for name in redirect.server_names)
    return None


def asks(rule: DnsRule, name: str) -> bool:
    """Return whether a rule lets a name be asked for."""
    return same_name(FqdnPeer(rule.name, rule.pattern), name)


def admits(rule: HttpRule, request: Request) -> bool:
    """Return whether all conditions of a rule hold."""
    return (
        _whole(rule.method, request.method)
        and _whole(rule.path, request.path)
        and _whole(rule.host, request.host)
        and all(_header(match, request.headers) for match in rule.headers)
    )


def _whole(pattern: str, text: str) -> bool:
    return not pattern or re.fullmatch(pattern, text) is not None


def _header(match: HeaderMatch, headers: Mapping[str, str]) -> bool:
    if match.mismatch:
        return True  # LOG, ADD, DELETE, REPLACE let it pass
    value = headers.get(match.name)
    return value is not None and (match.value is None or value == match.value)


def _server(pattern: str, name: str) -> bool:
    return same_name(FqdnPeer(pattern=pattern), name)


def spell_redirect(redirect: Redirect) -> str:
    """Return in a few words what a proxy lets pass."""
    if redirect.http is not None:
        return "HTTP " + (_first(map(spell_http, redirect.http)) or "requests of no kind")
    if redirect.dns is not None:
        return "DNS queries for " + (_first(r.name or r.pattern for r in redirect.dns) or "no name")
    if redirect.server_names:
        return "TLS to " + _first(redirect.server_names)
    return "anything, through the proxy"


def spell_http(rule: HttpRule) -> str:
    """Return a rule as people say it."""
    words = [rule.method or "any method", rule.path or "any path"]
    if rule.host:
        words.append(f"of host {rule.host}")
    words += [
        f"with {m.name}" + (f": {m.value}" if m.value is not None else "")
        for m in rule.headers
        if not m.mismatch
    ]
    return " ".join(words)


def _first(texts: Iterable[str]) -> str:
    listed = list(texts)
    shown = ", ".join(listed[:3])
    return shown + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
