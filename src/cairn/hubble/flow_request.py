"""What GetFlows is asked for.

    observer.GetFlowsRequest  ->  Wanted, or BadRequest

Standards   Cilium api/v1/observer/observer.proto; combinations as Hubble's server has them
"""

from dataclasses import dataclass
from typing import Any

from cairn.flow.bad_filter import BadFilter
from cairn.flow.filter import FlowFilter
from cairn.flow.store import EVER
from cairn.hubble.bad_request import BadRequest
from cairn.hubble.field_mask import FieldMask
from cairn.hubble.flow_filter import read_filter
from cairn.hubble.flow_message import NANOSECONDS

MOST_FILTERS = 256
MOST_ALTERNATIVES = 4096
"""Of all filters' fields together: each may be an expression to compile."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which of many, by number and time."""

    number: int
    """0: all."""
    first: bool
    """From the oldest on, instead of up to the newest."""
    follow: bool
    """And what is to come."""
    since_ns: int | None
    """None: any time."""
    until_ns: int
    """EVER: any time."""

    @property
    def only_new(self) -> bool:
        """Whether nothing that is stored is wanted."""
        return self.follow and not self.number and self.since_ns is None


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request."""

    span: Span
    allow: tuple[FlowFilter, ...]
    """Any of them holds; none: all flows."""
    deny: tuple[FlowFilter, ...]
    """None of them holds."""
    mask: FieldMask
    """Fields to send."""


def read_span(request: Any) -> Span:
    """Return the span of a request for flows or events; raises BadRequest."""
    if request.first and request.follow:
        raise BadRequest("first and follow contradict: the first flows are long stored")
    since_ns = read_time(request, "since") if request.HasField("since") else None
    until_ns = read_time(request, "until") if request.HasField("until") else EVER
    if since_ns is not None and since_ns > until_ns:
        raise BadRequest("since is after until: no time is between them")
    return Span(request.number, request.first, request.follow, since_ns, until_ns)


def read_time(request: Any, name: str) -> int:
    """Return a Timestamp's nanoseconds since 1970; raises BadRequest."""
    time = getattr(request, name)
    time_ns = int(time.seconds) * NANOSECONDS + int(time.nanos)
    if not 0 <= time.nanos < NANOSECONDS or time_ns > EVER:
        raise BadRequest(f"{name} is no time: {time.seconds} s and {time.nanos} ns")
    return max(time_ns, 0)


def read_request(request: Any) -> Wanted:
    """Return what is wanted; raises BadRequest."""
    for name in ("whitelist", "blacklist"):
        if (count := len(getattr(request, name))) > MOST_FILTERS:
            raise BadRequest(f"{name} has {count} filters, limit {MOST_FILTERS}")
        if (count := sum(map(_alternatives, getattr(request, name)))) > MOST_ALTERNATIVES:
            raise BadRequest(f"{name} has {count} alternatives, limit {MOST_ALTERNATIVES}")
    try:
        allow = tuple(read_filter(asked) for asked in request.whitelist)
        deny = tuple(read_filter(asked) for asked in request.blacklist)
    except BadFilter as error:
        raise BadRequest(str(error)) from None
    return Wanted(read_span(request), allow, deny, FieldMask(request.field_mask))


def _alternatives(asked: Any) -> int:
    """Return how many alternatives a flow.FlowFilter's fields have together."""
    return sum(len(values) for field, values in asked.ListFields() if field.name != "experimental")
