"""What this node's pinned BPF objects say: links at hooks, how full maps are, what was dropped.

    PINS/*  ->  fields of NodeReport

Cost        every map is walked once, 0.1 us an entry; `conntrack` only up to MOST_COUNTED
Invariants  Reads only. A map that cannot be read is named, the others are read.
"""

from collections import Counter
from pathlib import Path

from cairn.abi.address import read_address
from cairn.abi.structs import POINTS, VERDICT_SPACE, Endpoint, EndpointFlag
from cairn.abi.verdicts import FIRST_DROP, Verdict
from cairn.apply.map_usage import COUNTED, EVICTING
from cairn.apply.program_state import program_states
from cairn.diagnose.facts import Hook, MapFact
from cairn.libbpf import BpfError, Map

MOST_COUNTED = 2_000_000


def read_hooks(pins: Path) -> tuple[Hook, ...]:
    """Return every pinned link, and whether its program runs."""
    return tuple(Hook(state.name, state.attached, state.program) for state in program_states(pins))


def read_maps(pins: Path, errors: list[str]) -> tuple[MapFact, ...]:
    """Return how full each pinned map is that can be full."""
    found = []
    for pin in sorted(pins.iterdir()) if pins.is_dir() else ():
        if not pin.is_file():
            continue
        try:
            with Map.open_pinned(pin) as table:
                shape = table.shape
                if shape.type in COUNTED:
                    entries = _count(table)
                    evicts = shape.type in EVICTING
                    found.append(MapFact(pin.name, entries, shape.max_entries, evicts))
        except BpfError as error:
            errors.append(f"map {pin.name}: {error}")
    return tuple(found)


def _count(table: Map) -> int:
    total = 0
    for _, _, number in table.batches():
        total += number
        if total >= MOST_COUNTED:
            break
    return total


def read_vips(pins: Path, errors: list[str]) -> tuple[str, ...] | None:
    """Return the addresses that the data plane serves."""
    try:
        with Map.open_pinned(pins / "vips") as table:
            return tuple(sorted(str(read_address(key)) for key, _ in table.items()))
    except BpfError as error:
        errors.append(f"map vips: {error}")
        return None


def read_wired(pins: Path, errors: list[str]) -> dict[str, bool] | None:
    """Return the addresses of pods that the data plane knows, and whether each is closed."""
    try:
        with Map.open_pinned(pins / "endpoints") as table:
            return {
                str(read_address(key)): bool(Endpoint.read(value).flags & EndpointFlag.CLOSED)
                for key, value in table.items()
            }
    except BpfError as error:
        errors.append(f"map endpoints: {error}")
        return None


def read_drops(pins: Path, errors: list[str]) -> tuple[dict[str, int], int]:
    """Return packets dropped by reason, and how many events were lost."""
    counts: Counter[int] = Counter()
    try:
        with Map.open_pinned(pins / "metrics") as table:
            octets = b"".join(values for _, values, _ in table.batches())
    except BpfError as error:
        errors.append(f"map metrics: {error}")
        return {}, 0
    numbers = memoryview(octets).cast("Q")[::2]
    cells = POINTS * VERDICT_SPACE
    cpus = len(numbers) // cells if cells else 0
    for index in range(cells):
        seen = sum(numbers[index * cpus : (index + 1) * cpus])
        if seen:
            counts[index % VERDICT_SPACE] += seen
    lost = counts.pop(Verdict.EVENT_LOST, 0)
    known = {verdict.value: verdict.name for verdict in Verdict}
    return {known.get(n, str(n)): seen for n, seen in counts.items() if n >= FIRST_DROP}, lost
