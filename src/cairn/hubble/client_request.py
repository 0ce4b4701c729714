"""What `observe` asks for.

    Span, Chosen, fields, now  ->  observer.GetFlowsRequest; contradictions: BadFlag
    Span, now                  ->  observer.GetAgentEventsRequest

Standards   Cilium api/v1/observer/observer.proto; defaults as upstream's CLI has them
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cairn.hubble.client_filter import Chosen
from cairn.hubble.client_values import BadFlag, moment
from cairn.hubble.proto import message

LAST = 20
"""How many flows are shown if nothing says."""
ALL = (1 << 64) - 1
_FAR = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """Which of the flows that match."""

    last: int = 0
    """So many of the newest; 0: not said."""
    first: int = 0
    """So many of the oldest; 0: not said."""
    all: bool = False
    """Every one that is kept."""
    since: str = ""
    """From then on: a time, or how long ago."""
    until: str = ""
    """Likewise."""
    follow: bool = False
    """And those to come."""


def make_request(span: Span, chosen: Chosen, fields: Sequence[str], now: datetime) -> Any:
    """Return the request; raises BadFlag."""
    request = spanned("observer.GetFlowsRequest", span, now)
    request.whitelist.extend(chosen.allow)
    request.blacklist.extend(chosen.deny)
    for path in fields:
        mask = type(request.field_mask)(paths=[path])
        if not mask.IsValidForDescriptor(message("flow.Flow").DESCRIPTOR):
            raise BadFlag(f"{path!r} is no field of a flow: write time, source.pod_name, …")
    request.field_mask.paths.extend(fields)
    return request


def spanned(name: str, span: Span, now: datetime) -> Any:
    """Return a request of that name for what is in a span; raises BadFlag."""
    _check(span)
    since = _time("--since", span.since, now)
    until = _time("--until", span.until, _FAR if span.follow else now, now)
    if since and until and since >= until:
        raise BadFlag("--since is not before --until: no time is between them")
    request = message(name)(follow=span.follow, first=bool(span.first))
    request.number = span.first or span.last or (ALL if span.all else 0)
    if not (request.number or since or until or span.follow):
        request.number = LAST
    for field, when in (("since", since), ("until", until)):
        if when:
            getattr(request, field).FromDatetime(when.replace(tzinfo=None))
    return request


def _check(span: Span) -> None:
    given = [name for name in ("first", "last", "all") if getattr(span, name)]
    if len(given) > 1:
        raise BadFlag(f"--{given[0]} and --{given[1]} cannot be combined: which flows are wanted?")
    if span.first and span.follow:
        raise BadFlag("--first and --follow cannot be combined: the first flows are long past")


def _time(name: str, text: str, latest: datetime, now: datetime | None = None) -> datetime | None:
    if not text:
        return None
    try:
        when = moment(text, now or latest)
    except BadFlag as error:
        raise BadFlag(f"{name}: {error}") from None
    if when > latest:
        raise BadFlag(f"{name} {text} is in the future: it is {latest:%Y-%m-%dT%H:%M:%SZ} now")
    return when
