"""Answers of the history, as people and programs read them.

Answer  ->  table with a picture over time | JSON | YAML | JSON lines
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.markup import escape

from cairn.cli.policy_options import complain
from cairn.cli.render import make_console, show_table, spell
from cairn.relay.history.jobs import Picture
from cairn.relay.history.question import Question
from cairn.relay.history.state import HistoryStatus
from cairn.relay.history_client import Answer

FORMS = ("table", "json", "yaml", "jsonl")
"""What `-o` takes."""
BARS = " ▁▂▃▄▅▆▇█"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def show_answer(answer: Answer, question: Question, form: str) -> None:
    """Print rows; what the answer lacks goes to standard error."""
    if form == "table":
        _show_table(answer, question)
    else:
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        if form == "jsonl":
            for row in rows:
                print(msgspec.json.encode(row).decode())
        else:
            print(spell(rows, form), end="")
    if answer.cut:
        complain("flows", f"there is more: these are the first {question.limit} (--limit)")
    for note in answer.notes:
        complain("flows", note)


def _show_table(answer: Answer, question: Question) -> None:
    rows = answer.rows
    if not (question.top or question.by or question.sql):
        rows = rows[::-1]  # the newest were asked for; people read downwards
    title = question.top or ("counted" if question.by else "flows")
    cells = [
        tuple(escape(cell(name, value)) for name, value in zip(answer.columns, row, strict=True))
        for row in rows
    ]
    shown = [i for i in range(len(answer.columns)) if any(row[i] for row in cells)]
    columns = [answer.columns[i].upper() for i in shown]
    console = make_console()
    if answer.picture:
        console.print(*picture_lines(answer.picture), sep="\n", highlight=False)
    show_table(
        console, title.capitalize(), columns, [tuple(row[i] for i in shown) for row in cells]
    )


def picture_lines(picture: Picture) -> list[str]:
    """Return flows and drops over time, a line of bars each."""
    span = f"{_when(picture.from_us)} to {_when(picture.to_us)}"
    lines = [span]
    for name, counts in (("flows", picture.flows), ("drops", picture.drops)):
        lines.append(
            f"{name} {bars(counts)} {sum(counts)}, at most {max(counts, default=0)} a step"
        )
    return lines


def bars(counts: Sequence[int]) -> str:
    """Return counts as bars of the height of one line; what is not 0 is seen."""
    most = max(counts, default=0)
    top = len(BARS) - 1
    return "".join(BARS[-(-count * top // most)] if most else BARS[0] for count in counts)


def cell(name: str, value: Any) -> str:
    """Return a value as text; nothing for what a flow does not have."""
    if value is None:
        return ""
    if name == "octets" and isinstance(value, int):
        return octets(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    if name in ("time", "last") and isinstance(value, str):
        return value.replace("T", " ")[:23]
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def octets(count: float) -> str:
    """Return a number of octets in the unit that fits."""
    unit = 0
    while count >= 1024 and unit < len(UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.0f} {UNITS[unit]}" if unit == 0 else f"{count:.1f} {UNITS[unit]}"


def show_status(answer: Answer, form: str) -> None:
    """Print what the history holds."""
    status = answer.status
    if status is None:
        complain("flows", "the relay told no status: is its version another?")
        return
    if form != "table":
        print(spell(msgspec.to_builtins(status), "json" if form == "jsonl" else form), end="")
        return
    console = make_console()
    for name, text in status_rows(status):
        console.print(f"{name:<10} {escape(text)}", highlight=False)


def status_rows(status: HistoryStatus) -> list[tuple[str, str]]:
    """Return what people want to know of a history."""
    each = f", {status.bytes / status.flows:.1f} B a flow" if status.flows else ""
    rows = [
        ("State", status.stopped or "flows are being kept"),
        ("Flows", str(status.flows)),
        ("Disk", f"{octets(status.bytes)} in {status.files} files{each}, in {status.root}"),
        ("Kept", f"{status.keep_days:g} days, at most {octets(status.keep_bytes)}"),
    ]
    if status.oldest_us is not None and status.newest_us is not None:
        rows.insert(1, ("Time", f"{_when(status.oldest_us)} to {_when(status.newest_us)}"))
    if status.missed:
        rows.append(("Missed", f"{status.missed} flows since the relay started"))
    if status.removed:
        rows.append(("Let go", f"{status.removed} flows since the relay started"))
    rows += [("Corrupt", text) for text in status.corrupt]
    return rows


def _when(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(sep=" ", timespec="seconds")
