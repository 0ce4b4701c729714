"""What the lab's processes hold in memory at rest, by part.

    the control group of a lab that has just come up  ->  MiB

Units       RSS counts pages that processes share once for each; the whole is summed as PSS, which
            divides them
"""

from collections import defaultdict
from pathlib import Path

import running
from row import Row, at_most, percentile

from cairn.linux.cgroup import unified_root

PARTS = ("agent", "speaker", "operator", "router", "api", "lab kubelet", "lab controllers")
API_AIM_MIB = 100.0


def run() -> list[Row]:
    """Read the memory of every process of the lab."""
    lab = running.lab()
    root = unified_root() / f"cairn-{lab.name}"
    pids = {int(pid) for procs in root.rglob("cgroup.procs") for pid in procs.read_text().split()}
    rss: dict[str, list[float]] = defaultdict(list)
    own: list[float] = []
    whole = 0.0
    for pid in pids:
        held = memory_of(pid)
        if held:
            rss[part_of(pid)].append(held[0])
            whole += held[1]
            if part_of(pid) == "agent":
                own.append(held[2])
    assert "agent" in rss, f"no agent among {len(pids)} processes in {root}"
    rows = [row_of(part, rss[part]) for part in PARTS if part in rss]
    text = "not shared with any other process: beside the libraries' pages and the event ring's"
    rows.insert(1, Row("of it the agent's alone", max(own), "MiB", text))
    return [*rows, Row("whole lab, memory", whole, "MiB", f"PSS of {len(pids)} processes")]


def row_of(part: str, values: list[float]) -> Row:
    """Return the row of one part: the greatest of its processes."""
    most, name = max(values), f"cairn {part}, memory"
    if part == "api":
        return at_most(name, most, "MiB", API_AIM_MIB, "RSS, the reference scenario at rest")
    middle = percentile(values, 50)
    return Row(name, most, "MiB", f"RSS, the most of {len(values)}; median {middle:.0f}")


def memory_of(pid: int) -> tuple[float, float, float] | None:
    """Return RSS, PSS and what is its own alone, of a process; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    kib = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    own = kib["Private_Dirty"] + kib["Private_Clean"]
    return kib["Rss"] / 1024, kib["Pss"] / 1024, own / 1024


def part_of(pid: int) -> str:
    """Return which command of Cairn a process runs; "other" for what is not Cairn's."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return "other"
    after = [
        words[i + 1 :] for i, w in enumerate(words) if w.endswith(("/cairn", "cairn.cli.main"))
    ]
    text = " ".join(after[0][:2]) if after else ""
    return next((p for p in PARTS if text == p or text.startswith(p + " ")), "other")
