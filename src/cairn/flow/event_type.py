"""What kind of Cilium's monitor events a flow corresponds to, with direction and layer.

    FLOW  ->  type and sub-type, direction, whether an answer: one array each

Standards   Cilium pkg/monitor/api: MessageType*, Trace*; api/v1/flow/flow.proto
            TrafficDirection, TraceObservationPoint, SocketTranslationPoint
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cairn.flow import drop_reason
from cairn.flow.columns import FlowFlag, FlowKind

Records = np.ndarray[tuple[int], np.dtype[np.void]]
Numbers = npt.NDArray[np.uint8]
SOCKET_POINT = 2
"""abi.event.Point.SOCKET: translation at connect()."""


class EventType(IntEnum):
    """Numbers of Cilium's monitor events."""

    NONE = 0
    DROP = 1
    TRACE = 4
    POLICY_VERDICT = 5
    TRACE_SOCK = 7
    L7 = 129


class Trace(IntEnum):
    """Where a trace event was seen: sub-types of EventType.TRACE."""

    TO_ENDPOINT = 0
    TO_PROXY = 1
    TO_STACK = 3
    TO_OVERLAY = 4
    FROM_ENDPOINT = 5
    FROM_NETWORK = 10
    TO_NETWORK = 11


class Direction(IntEnum):
    """Numbers of Hubble's enum TrafficDirection."""

    UNKNOWN = 0
    INGRESS = 1
    EGRESS = 2


PRE_TRANSLATION_FORWARD = 1
_KINDS = np.zeros(256, np.uint8)
for _kind, _type in {
    FlowKind.DROP: EventType.DROP,
    FlowKind.NEW: EventType.TRACE,
    FlowKind.CLOSED: EventType.TRACE,
    FlowKind.TRANSLATED: EventType.TRACE,
    FlowKind.HANDED_OVER: EventType.TRACE,
    FlowKind.REDIRECTED: EventType.TRACE,
    FlowKind.AUDITED: EventType.POLICY_VERDICT,
    FlowKind.PACKET: EventType.TRACE,
    FlowKind.KERNEL_DROP: EventType.DROP,
    FlowKind.HTTP: EventType.L7,
    FlowKind.DNS: EventType.L7,
    FlowKind.TLS: EventType.L7,
}.items():
    _KINDS[_kind] = _type


class Types(NamedTuple):
    """Event types of many flows."""

    type: Numbers
    """EventType."""
    sub_type: Numbers
    """Trace, or Hubble's drop reason, or the translation point."""


def event_types(records: Records) -> Types:
    """Return each flow's type and sub-type.

    A connection that a policy's rule let through, or that is audited, is a policy verdict.
    """
    kind, flags = records["kind"], records["flags"]
    types = _KINDS[kind]
    types[(kind == FlowKind.NEW) & (records["decision"] != 0)] = EventType.POLICY_VERDICT
    at_socket = (kind == FlowKind.TRANSLATED) & (records["point"] == SOCKET_POINT)
    types[at_socket] = EventType.TRACE_SOCK
    trace = np.full(len(records), Trace.FROM_NETWORK, np.uint8)
    trace[flags & FlowFlag.FROM_POD != 0] = Trace.FROM_ENDPOINT
    trace[flags & FlowFlag.TO_POD != 0] = Trace.TO_ENDPOINT
    trace[kind == FlowKind.HANDED_OVER] = Trace.TO_NETWORK
    trace[kind == FlowKind.REDIRECTED] = Trace.TO_PROXY
    subs = np.zeros(len(records), np.uint8)
    traced = types == EventType.TRACE
    subs[traced] = trace[traced]
    dropped = types == EventType.DROP
    subs[dropped] = drop_reason.HUBBLE[records["reason"][dropped]]
    subs[at_socket] = PRE_TRANSLATION_FORWARD
    return Types(types, subs)


def directions(records: Records) -> Numbers:
    """Return each flow's Direction, as seen by the pod whose interface judged it."""
    found = np.full(len(records), Direction.UNKNOWN, np.uint8)
    flags = records["flags"]
    found[flags & FlowFlag.FROM_POD != 0] = Direction.EGRESS
    found[flags & FlowFlag.TO_POD != 0] = Direction.INGRESS
    return found
