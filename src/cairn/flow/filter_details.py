"""Fields of flow filters about requests and lookups.

alternatives  ->  Term, or BadFilter
"""

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from cairn.flow.address import Records
from cairn.flow.bad_filter import BadFilter
from cairn.flow.columns import Detail, Dictionaries, DnsDetail, FlowKind, HttpDetail
from cairn.flow.filter_term import Compile, Term
from cairn.flow.key_test import Bools, KeyTest
from cairn.flow.regex import any_search

_STATUS = re.compile(r"[1-5][0-9]{2}|[1-5][0-9]?\+")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*", re.DOTALL)


def of_http(prepare: Callable[[Any], Callable[[HttpDetail], bool]]) -> Compile:
    """Return a test of a request."""

    def build(wanted: Any, dictionaries: Dictionaries, _: str) -> Term:
        test = prepare(wanted)
        return _of_detail(
            FlowKind.HTTP,
            dictionaries,
            lambda detail: isinstance(detail, HttpDetail) and test(detail),
        )

    return build


def _of_detail(kind: int, dictionaries: Dictionaries, test: Callable[[Detail], bool]) -> Term:
    judge = KeyTest(dictionaries.details, test, nothing=False)

    def term(records: Records) -> Bools:
        held: Bools = records["kind"] == kind
        if held.any():
            held[held] = judge(records["detail"][held])
        return held

    return term


def statuses(texts: Sequence[str]) -> Callable[[HttpDetail], bool]:
    for text in texts:
        if not _STATUS.fullmatch(text):
            raise BadFilter(f"HTTP status {text!r}: write 404, 40+ or 4+")
    whole = {text for text in texts if not text.endswith("+")}
    fronts = tuple(text[:-1] for text in texts if text.endswith("+"))
    return lambda request: (
        request.status != 0
        and (f"{request.status:03}" in whole or f"{request.status:03}".startswith(fronts))
    )


def methods(names: Sequence[str]) -> Callable[[HttpDetail], bool]:
    wanted = {name.lower() for name in names}
    return lambda request: bool(request.method) and request.method.lower() in wanted


def urls(texts: Sequence[str]) -> Callable[[HttpDetail], bool]:
    holds = any_search(texts)
    return lambda request: bool(request.url) and holds(request.url)


def paths(texts: Sequence[str]) -> Callable[[HttpDetail], bool]:
    holds = any_search(texts)
    return lambda request: (path := _path(request.url)) is not None and holds(path)


def _path(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return unquote(parts.path) if parts.scheme or parts.path.startswith("/") else None


def headers(pairs: Sequence[tuple[str, str]]) -> Callable[[HttpDetail], bool]:
    wanted = set(pairs)
    return lambda request: not wanted.isdisjoint(request.headers)


def trace_id(request: HttpDetail) -> str:
    """Return the W3C trace id of a request; empty if it has none."""
    for name, value in request.headers:
        if name.lower() == "traceparent" and (found := _TRACE_PARENT.fullmatch(value)):
            return found[1]
    return ""


def trace_ids(texts: Sequence[str]) -> Callable[[HttpDetail], bool]:
    return lambda request: trace_id(request) in texts


def dns_queries(texts: Sequence[str], dictionaries: Dictionaries, _: str) -> Term:
    holds = any_search(texts)
    return _of_detail(
        FlowKind.DNS,
        dictionaries,
        lambda detail: isinstance(detail, DnsDetail) and holds(detail.query),
    )
