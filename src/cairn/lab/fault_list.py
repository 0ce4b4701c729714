"""The catalogue of faults as people and programs read it: by area, with what must be found.

AREAS  ->  tables, JSON, YAML, the end of `cairn lab fault --help`
"""

import textwrap
from collections.abc import Iterator

from cairn.diagnose.findings import BY_CODE
from cairn.lab.breakages.catalogue import AREAS
from cairn.lab.fault import Fault, usage
from cairn.lab.output import print_plain
from cairn.lab.screen import Screen

COLUMNS = ("FAULT", "WHAT IT DOES", "FINDING")
NONE = "-"


def print_list(form: str) -> None:
    """Print every fault: one table an area, or one list for programs."""
    if form != "table":
        print_plain(list(_rows()), form)
        return
    for area, faults in AREAS.items():
        rows = [[usage(one), one.help, finding_text(one)] for one in faults]
        Screen().table(area, COLUMNS, rows)


def _rows() -> Iterator[dict[str, str]]:
    for area, faults in AREAS.items():
        for one in faults:
            row = {"fault": usage(one), "help": one.help, "finding": one.finding, "area": area}
            yield row | {"needs": one.needs}


def finding_text(fault: Fault) -> str:
    """Return code and name of what must be found first."""
    return f"{fault.finding} {BY_CODE[fault.finding].name}" if fault.finding else NONE


def help_text() -> str:
    """Return the names of all faults, by area."""
    lines = ["what there is to break:"]
    for area, faults in AREAS.items():
        names = " ".join(one.name for one in faults)
        lines.append(f"  {area}")
        lines += textwrap.wrap(names, 76, initial_indent="    ", subsequent_indent="    ",
                               break_on_hyphens=False)  # fmt: skip
    lines += [
        "",
        "  cairn lab fault list             all of them, with what each must be found as",
        "  cairn lab fault describe NAME    one of them, with an example",
        "  cairn lab fault NAME TARGET      break it",
        "  cairn lab fault clear [NAME] [TARGET]   put it right again; without a name, all",
    ]
    return "\n".join(lines)
