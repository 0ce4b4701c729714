"""Hubble's filters as ours.

    flow.FlowFilter  ->  FlowFilter, or BadFilter

Every field has our field's name, so they are carried over by name; a field that is not known here
(a later version's) is refused, since leaving it out would select other flows.

Standards   Cilium api/v1/flow/flow.proto, message FlowFilter
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from cairn.flow.bad_filter import BadFilter
from cairn.flow.filter import EventTypeIs, FlowFilter, InterfaceIs

_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS")


def _tcp_flags(flags: Any) -> int:
    return sum(1 << bit for bit, name in enumerate(_FLAGS) if getattr(flags, name))


_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "source_workload": lambda one: (one.name, one.kind),
    "destination_workload": lambda one: (one.name, one.kind),
    "http_header": lambda one: (one.key, one.value),
    "event_type": lambda one: EventTypeIs(one.type, one.match_sub_type, one.sub_type),
    "interface": lambda one: InterfaceIs(one.index, one.name),
    "tcp_flags": _tcp_flags,
}
"""Fields whose alternatives are messages."""


def read_filter(asked: Any) -> FlowFilter:
    """Return the filter that a flow.FlowFilter is; raises BadFilter."""
    if unknown := [field.field_number for field in UnknownFieldSet(asked)]:
        raise BadFilter(f"a filter has field {unknown[0]}, which this version does not know")
    found: dict[str, Any] = {}
    for field, values in asked.ListFields():
        if field.name == "experimental":
            found["cel_expression"] = tuple(values.cel_expression)
            continue
        convert = _CONVERTED.get(field.name)
        found[field.name] = tuple(values) if convert is None else tuple(map(convert, values))
    return FlowFilter(**found)
