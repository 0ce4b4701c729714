"""What a trace asks for: what cannot be asked, and which flows fit.  Packets: tests/bpf."""

from ipaddress import ip_address

import numpy as np
import pytest

from cairn.abi.structs import TraceFilter
from cairn.flow.address import Records, write_octets
from cairn.flow.columns import FLOW, FlowFlag
from cairn.observe.trace_filter import (
    LONGEST_S,
    ROWS,
    BadTrace,
    TraceQuestion,
    TraceRow,
    check,
    compile_rows,
    empty_row,
    fits,
)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (TraceQuestion(()), "takes 1 to 16"),
        (TraceQuestion((TraceRow(),) * (ROWS + 1)), "name fewer"),
        (TraceQuestion((TraceRow(),), LONGEST_S + 1), "lasts up to 3600 s"),
        (TraceQuestion((TraceRow(),), 0), "lasts up to"),
        (TraceQuestion((TraceRow(port=1 << 16),)), "no such numbers"),
        (TraceQuestion((TraceRow(protocol=-1),)), "no such numbers"),
        (TraceQuestion((TraceRow("10.0.0.0/8", "fd00::/8"),)), "two IP versions"),
        (TraceQuestion((TraceRow("10.0.0.0/33"),)), "'10.0.0.0/33' is no network"),
        (TraceQuestion((TraceRow(destination="web"),)), "'web' is no network"),
    ],
)
def test_what_cannot_be_traced_is_said_in_one_line(question: TraceQuestion, said: str) -> None:
    with pytest.raises(BadTrace) as error:
        check(question)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_rows_are_prefixes_and_masks() -> None:
    row = TraceRow("10.1.2.3/8", "", 443, 6)
    made = TraceFilter.read(compile_rows([row], 99)[0])
    assert made.source_mask == ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ff00:0")
    assert (str(made.source), str(made.destination_mask)) == ("10.0.0.0", "::")
    assert (made.port, made.port_mask, made.protocol, made.protocol_mask) == (443, 0xFFFF, 6, 255)
    assert made.until_ns == 99
    assert set(empty_row()) == {0}


def flow(
    source: str, destination: str, port: int, *, back: bool = False, became: str = ""
) -> bytes:
    made: Records = np.zeros(1, FLOW)
    made["source"], made["destination"] = (
        write_octets(ip_address(text)) for text in (source, destination)
    )
    made["destination_port"], made["protocol"] = port, 6
    if became:
        made["translated"], made["translated_port"] = write_octets(ip_address(became)), 8080
    made["flags"] = FlowFlag.REPLY if back else 0
    return made.tobytes()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (TraceRow(), [1, 1, 1]),
        (TraceRow("10.0.0.1/32"), [1, 0, 1]),
        (TraceRow(destination="10.0.0.1/32"), [1, 0, 1]),
        (TraceRow("10.0.0.1/32", "10.9.9.9/32"), [1, 0, 1]),
        (TraceRow("10.0.0.1/32", "10.244.0.5/32"), [1, 0, 0]),
        (TraceRow("10.0.0.1/32", "10.244.0.5/32", 8080), [1, 0, 0]),
        (TraceRow("10.0.0.1/32", "10.244.0.5/32", 80), [0, 0, 0]),
        (TraceRow("10.0.0.1/32", "10.9.9.9/32", 80), [1, 0, 0]),
        (TraceRow("::/0", "::/0"), [1, 1, 1]),
        (TraceRow("0.0.0.0/0", "0.0.0.0/0"), [1, 0, 1]),
        (TraceRow(protocol=17), [0, 0, 0]),
        (TraceRow("fd00::/16", "fd00::2/128", 80), [0, 1, 0]),
    ],
)
def test_flows_fit_as_they_came_or_as_they_went_on(row: TraceRow, expected: list[int]) -> None:
    octets = (
        flow("10.0.0.1", "10.9.9.9", 80, became="10.244.0.5"),
        flow("fd00::1", "fd00::2", 80),
        flow("10.244.0.6", "10.0.0.1", 40000, back=True, became="10.9.9.9"),
    )
    records = np.frombuffer(b"".join(octets), FLOW)
    assert fits([row], records).tolist() == [bool(one) for one in expected]


def test_one_row_is_enough() -> None:
    records = np.frombuffer(flow("10.0.0.1", "10.0.0.2", 80), FLOW)
    assert fits([TraceRow(port=81), TraceRow(port=80)], records).tolist() == [True]
    assert fits([], records).tolist() == [False]
