"""Flows as `observe` prints them.

    GetFlowsResponse, some at a time  ->  text, in one of FORMS

`columns` is the default; `compact`, `table`, `dict` and `json` are those of upstream's CLI.

Cost        columns 15 us a flow, compact 20 us, json 25 us
Standards   Cilium hubble/pkg/printer
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cairn.hubble import present_words as words
from cairn.hubble.present_colour import Paint, plain
from cairn.hubble.present_ends import full, identities, short
from cairn.hubble.present_grid import Grid
from cairn.hubble.present_json import to_line
from cairn.hubble.present_time import FORMATS, Spell, seconds

Print = Callable[[Sequence[Any]], str]
"""Responses with flows -> text; others are passed over."""


@dataclass(frozen=True, slots=True)
class Style:
    """How flows are printed."""

    names: bool = True
    """Ends by name, where they have one."""
    node: bool = False
    """Whether the node is told."""
    policies: bool = False
    """Whether the policies that let a flow through are told; those that did not always are."""
    time: Spell | None = None
    """How times are spelt; None: as the form does."""
    paint: Paint = plain
    """How verdicts are coloured."""


def columns(style: Style) -> Print:
    """Return the printer of the default form."""
    header = ["TIMESTAMP", "SOURCE", "DESTINATION", "TYPE", "VERDICT"]
    return _gridded(style, header, [20, 24, 24, 8], style.time or seconds, _columns_row)


def _columns_row(flow: Any, style: Style) -> list[str]:
    ends = short(flow, names=style.names)
    verdict = words.plain_verdict(flow)
    told = style.paint(verdict, verdict) + _why(flow, style)
    return [*ends, words.layer(flow), told]


def _why(flow: Any, style: Style) -> str:
    """Return who decided, or why it was dropped."""
    if flow.verdict == words.DROPPED:
        policies = words.deciders(flow)
        return f" by {policies}" if policies else f" ({flow.Summary or words.drop_reason(flow)})"
    policies = words.allowers(flow) if style.policies else words.deciders(flow)
    return f" by {policies}" if policies else ""


def table(style: Style) -> Print:
    """Return the printer of upstream's table."""
    header = ["TIMESTAMP", "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"]
    spell = style.time or FORMATS["StampMilli"]
    return _gridded(style, header, [19, 24, 24, 12, 10], spell, _table_row)


def _table_row(flow: Any, style: Style) -> list[str]:
    ends = full(flow, names=style.names)
    return [*ends, words.flow_type(flow), words.verdict(flow), _summary(flow, style)]


def _gridded(
    style: Style,
    header: list[str],
    widths: list[int],
    spell: Spell,
    row: Callable[[Any, Style], list[str]],
) -> Print:
    if style.node:
        header, widths = [header[0], "NODE", *header[1:]], [widths[0], 10, *widths[1:]]
    grid = Grid(header, widths)

    def show(responses: Sequence[Any]) -> str:
        rows = []
        for response in responses:
            flow = response.flow
            node = [flow.node_name] if style.node else []
            rows.append([spell(flow.time), *node, *row(flow, style)])
        return _text(grid.lines(rows))

    return show


def compact(style: Style) -> Print:
    """Return the printer of upstream's compact form, a line for each flow."""
    spell = style.time or FORMATS["StampMilli"]

    def line(flow: Any) -> str:
        node = f" [{flow.node_name}]" if style.node else ""
        ends, who = full(flow, names=style.names), identities(flow)
        left, right = (f"{end} {id_}".rstrip() for end, id_ in zip(ends, who, strict=True))
        arrow = "<>"
        if flow.HasField("is_reply"):
            arrow = "<-" if flow.is_reply.value else "->"
        if arrow == "<-":
            left, right = right, left
        verdict = words.verdict(flow)
        told = f"{words.flow_type(flow)} {style.paint(verdict, verdict)} ({_summary(flow, style)})"
        return f"{spell(flow.time)}{node}: {left} {arrow} {right} {told}"

    return lambda responses: _text([line(response.flow) for response in responses])


def _summary(flow: Any, style: Style) -> str:
    told = words.summary(flow)
    policies = words.deciders(flow) or (words.allowers(flow) if style.policies else "")
    if policies:
        return f"{told}; by {policies}"
    why = flow.Summary if flow.verdict == words.DROPPED else ""
    return f"{told}; {why}" if why and why != told else told


def dictionary(style: Style) -> Print:
    """Return the printer of upstream's dict: a line for each field."""
    spell = style.time or FORMATS["StampMilli"]
    begun = False

    def show(responses: Sequence[Any]) -> str:
        nonlocal begun
        lines = []
        for response in responses:
            flow = response.flow
            if begun:
                lines.append("-" * 12)
            begun = True
            ends = full(flow, names=style.names)
            verdict = words.verdict(flow)
            lines.append(f"  TIMESTAMP: {spell(flow.time)}")
            if style.node:
                lines.append(f"       NODE: {flow.node_name}")
            lines.append(f"     SOURCE: {ends.source}")
            lines.append(f"DESTINATION: {ends.destination}")
            lines.append(f"       TYPE: {words.flow_type(flow)}")
            lines.append(f"    VERDICT: {style.paint(verdict, verdict)}")
            lines.append(f"    SUMMARY: {_summary(flow, style)}")
        return _text(lines)

    return show


def json_lines(_: Style) -> Print:
    """Return the printer of JSON, a line for each response."""
    return lambda responses: _text([to_line(response) for response in responses])


def _text(lines: Sequence[str]) -> str:
    return "".join([f"{line}\n" for line in lines])


FORMS: dict[str, Callable[[Style], Print]] = {
    "columns": columns,
    "compact": compact,
    "table": table,
    "dict": dictionary,
    "json": json_lines,
    "jsonpb": json_lines,
}
"""What `-o` takes."""


def notice(response: Any) -> str:
    """Return the line about events that were lost, or about nodes; empty if there is none."""
    match response.WhichOneof("response_types"):
        case "lost_events":
            return _lost(response)
        case "node_status":
            return _nodes(response.node_status)
    return ""


def _lost(response: Any) -> str:
    lost = response.lost_events
    cpu = f" CPU({lost.cpu.value})" if lost.HasField("cpu") else ""
    where = f" on {response.node_name}" if response.node_name else ""
    source = words.enum_name("flow.LostEventSource", lost.source)
    return f"EVENTS LOST: {source}{cpu} {lost.num_events_lost}{where}"


def _nodes(status: Any) -> str:
    said = {
        "NODE_UNAVAILABLE": "unavailable",
        "NODE_GONE": "gone",
        "NODE_ERROR": "in trouble",
    }.get(words.enum_name("relay.NodeState", status.state_change))
    names = ", ".join(status.node_names)
    if said is None or not names:
        return ""
    verb = "is" if len(status.node_names) == 1 else "are"
    why = status.message.removeprefix(f"{names}: ")
    return f"{names} {verb} {said}" + (f": {why}" if why else "")
