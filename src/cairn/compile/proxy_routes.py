"""Rules about requests as routes of Envoy: a request that no rule allows gets 403.

    HttpRule, values of Secrets  ->  envoy.config.route.v3.Route, ...

Each rule is a route to where the client wanted to go; the last route answers all that is left. A
condition that mends the request (ADD, DELETE) or notes it (LOG) makes two routes of one, for the
requests that meet it and for the others.

Invariants  No request is let through that no rule allows: an expression is matched against the
            whole of what is forwarded, `path` with its query, `host` with its port.
            A Secret that cannot be read meets no condition.
Standards   envoy.config.route.v3.RouteMatch, HeaderMatcher; RE2 for expressions
Cost        routes are tried in turn; the expression of a plain word is compared as a word
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cairn.desired.proxy import Resource
from cairn.kube.policy.rule import HeaderMatch, HttpRule

DENIED = "denied"
"""Name of the route of what no rule allows."""
BODY = "Access denied\r\n"
"""What the client reads then."""
CLUSTER = "origin"
"""The destination that the client named."""
RETRY = {"retry_on": "reset-before-request", "num_retries": 2}
"""Once more on another connection, if the first was closed before any of the request was sent."""
MOST_MENDING = 6
"""Conditions of one rule that make two routes of one."""

Secrets = Mapping[tuple[str, str], str]
"""Values by namespace and name of their Secret."""

_PLAIN = re.compile(r"(?:[A-Za-z0-9/_~:@!&=,;%#'\" <>-]|\\[^A-Za-z0-9])*")


class TooManyRoutes(ValueError):
    """A rule that would take more routes than is sensible."""


@dataclass(frozen=True, slots=True)
class _Form:
    """One of the routes that a rule comes to."""

    matches: tuple[Resource, ...] = ()
    adds: tuple[Resource, ...] = ()
    removes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def route_configuration(name: str, rules: Sequence[HttpRule], secrets: Secrets) -> dict[str, Any]:
    """Return the routes of one listener, under the name by which it asks for them."""
    routes = [route for index, rule in enumerate(rules) for route in _routes(index, rule, secrets)]
    return {
        "name": name,
        "virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [*routes, denied_route()]}],
    }


def denied_route() -> dict[str, Any]:
    """Return the route that refuses everything."""
    return {
        "name": DENIED,
        "match": {"prefix": ""},
        "direct_response": {"status": 403, "body": {"inline_string": BODY}},
    }


def pattern(name: str, expression: str) -> dict[str, Any]:
    """Return the condition that the whole of a header is described by an expression."""
    if _PLAIN.fullmatch(expression):
        return {"name": name, "string_match": {"exact": _unescape(expression)}}
    head = expression.removesuffix(".*")
    if head != expression and head and _PLAIN.fullmatch(head):
        return {"name": name, "string_match": {"prefix": _unescape(head)}}
    return {"name": name, "string_match": {"safe_regex": {"regex": expression}}}


def _unescape(plain: str) -> str:
    return re.sub(r"\\(.)", r"\1", plain)


def _routes(index: int, rule: HttpRule, secrets: Secrets) -> Iterator[dict[str, Any]]:
    wanted = ((":method", rule.method), (":path", rule.path), (":authority", rule.host))
    forms = [_Form(tuple(pattern(name, expression) for name, expression in wanted if expression))]
    for header in rule.headers:
        forms = [made for form in forms for made in _with_header(form, header, secrets)]
        if len(forms) > 1 << MOST_MENDING:
            raise TooManyRoutes(
                f"rule {index + 1} of the HTTP rules has more than {MOST_MENDING} headers with "
                "LOG, ADD or DELETE: split it"
            )
    for form in forms:
        yield _route(index, form)


def _with_header(form: _Form, header: HeaderMatch, secrets: Secrets) -> Iterator[_Form]:
    value = secrets.get(header.secret, header.value) if header.secret else header.value
    if header.secret and value is None:
        met = None
    elif value is None:
        met = {"name": header.name, "present_match": True}
    else:
        met = {"name": header.name, "string_match": {"exact": value}}
    if header.mismatch == "REPLACE" and value is not None:
        yield replace(
            form, adds=(*form.adds, _add(header.name, value, "OVERWRITE_IF_EXISTS_OR_ADD"))
        )
        return
    if met is not None:
        yield replace(form, matches=(*form.matches, met))
    if header.mismatch:
        # Tried after the route of those that meet it, so it need not say that these do not.
        yield _mended(form, header, value)


def _mended(form: _Form, header: HeaderMatch, value: str | None) -> _Form:
    form = replace(form, notes=(*form.notes, f"{header.mismatch} {header.name}"))
    if header.mismatch == "ADD" and value is not None:
        return replace(form, adds=(*form.adds, _add(header.name, value, "APPEND_IF_EXISTS_OR_ADD")))
    if header.mismatch in ("DELETE", "REPLACE"):
        return replace(form, removes=(*form.removes, header.name))
    return form


def _add(name: str, value: str, action: str) -> dict[str, Any]:
    # A percent sign begins a command of Envoy's format strings.
    return {
        "header": {"key": name, "value": value.replace("%", "%%")},
        "append_action": action,
        "keep_empty_value": True,
    }


def _route(index: int, form: _Form) -> dict[str, Any]:
    route: dict[str, Any] = {
        "name": ", ".join((f"rule {index + 1}", *form.notes)),
        "match": {"prefix": ""} | ({"headers": list(form.matches)} if form.matches else {}),
        "route": {"cluster": CLUSTER, "timeout": "0s", "retry_policy": RETRY},
    }
    if form.adds:
        route["request_headers_to_add"] = list(form.adds)
    if form.removes:
        route["request_headers_to_remove"] = list(form.removes)
    return route
