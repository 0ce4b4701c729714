"""The events that a client of GetAgentEvents gets.

    Span, AgentEvents  ->  observer.GetAgentEventsResponse after another, serialised

Standards   Cilium api/v1/observer/observer.proto
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import Any

from cairn.flow.store import EVER
from cairn.hubble.agent_event import (
    AddressKnown,
    AgentEvents,
    EndpointChanged,
    PolicyChanged,
    Regenerated,
    Started,
    Told,
)
from cairn.hubble.flow_message import NANOSECONDS
from cairn.hubble.flow_request import Span
from cairn.hubble.proto import enum, message

Response: Any = message("observer.GetAgentEventsResponse")
_TYPES: dict[str, int] = {v.name: v.number for v in enum("flow.AgentEventType").values}
LATE_S = 1.0


async def get_agent_events(
    span: Span, events: AgentEvents, node: str, now_ns: Callable[[], int]
) -> AsyncIterator[bytes]:
    """Yield responses."""
    at = events.next_sequence
    if not span.only_new:
        for told in _stored(span, events):
            yield _response(told, node)
    while span.follow:
        while at < events.next_sequence:
            # Told one by one: more may come, and the oldest may go, while a client reads.
            at = max(at, events.first_sequence)
            for told in islice(events.since(at), 1):
                if told.time_ns > span.until_ns:
                    return
                if told.time_ns >= (span.since_ns or 0):
                    yield _response(told, node)
            at += 1
        events.changed.clear()
        if not await _more(events.changed, span, now_ns):
            return


async def _more(changed: asyncio.Event, span: Span, now_ns: Callable[[], int]) -> bool:
    if span.until_ns == EVER:
        return await changed.wait()
    left_s = (span.until_ns - now_ns()) / NANOSECONDS + LATE_S
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, left_s)):
            return await changed.wait()
    return False


def _stored(span: Span, events: AgentEvents) -> list[Told]:
    since_ns = span.since_ns or 0
    found = [told for told in events.since(0) if since_ns <= told.time_ns <= span.until_ns]
    if not span.number:
        return found
    return found[: span.number] if span.first else found[-span.number :]


def _response(told: Told, node: str) -> bytes:
    response = Response(node_name=node)
    response.time.FromNanoseconds(told.time_ns)
    _set(response.agent_event, told)
    octets: bytes = response.SerializeToString()
    return octets


def _set(made: Any, told: Told) -> None:
    match told.event:
        case Started():
            made.type = _TYPES["AGENT_STARTED"]
            made.agent_start.time.FromNanoseconds(told.time_ns)
        case PolicyChanged() as policy:
            made.type = _TYPES["POLICY_DELETED" if policy.deleted else "POLICY_UPDATED"]
            update = made.policy_update
            update.labels.extend(policy.labels)
            update.revision, update.rule_count = policy.revision, policy.rules
        case EndpointChanged() as endpoint:
            made.type = _TYPES["ENDPOINT_DELETED" if endpoint.deleted else "ENDPOINT_CREATED"]
            update = made.endpoint_update
            update.id, update.pod_name, update.namespace = (
                endpoint.number,
                endpoint.pod,
                endpoint.namespace,
            )
            update.labels.extend(endpoint.labels)
        case Regenerated() as written:
            end = "FAILURE" if written.error else "SUCCESS"
            made.type = _TYPES[f"ENDPOINT_REGENERATE_{end}"]
            made.endpoint_regenerate.id, made.endpoint_regenerate.error = (
                written.number,
                written.error,
            )
            made.endpoint_regenerate.labels.extend(written.labels)
        case AddressKnown() as known:
            made.type = _TYPES["IPCACHE_UPSERTED" if known.identity else "IPCACHE_DELETED"]
            update = made.ipcache_update
            update.cidr, update.identity = known.network, known.identity
            update.namespace, update.pod_name = known.namespace, known.pod
