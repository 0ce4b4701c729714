"""Records of drops become lines that name who, whom and why."""

import numpy as np
import numpy.typing as npt

from cairn.abi import structs
from cairn.abi.records import EVENT
from cairn.abi.verdicts import Verdict
from cairn.net import parse_address
from cairn.observe.drops import sum_drops


def event(source: str, port: int, verdict: int, *, suppressed: int = 0) -> bytes:
    return structs.Event(
        time_ns=1,
        source=parse_address(source),
        destination=parse_address("192.168.1.100"),
        source_port=40000,
        destination_port=port,
        protocol=6,
        verdict=verdict,
        point=0,
        tcp_flags=2,
        ifindex=2,
        length=60,
        suppressed=suppressed,
        rule=0,
    ).write()


def records(*events: bytes) -> npt.NDArray[np.void]:
    return np.frombuffer(b"".join(events), dtype=EVENT)


def test_equal_drops_are_summed_with_those_not_sampled() -> None:
    drops = sum_drops(
        records(
            event("192.168.50.10", 81, Verdict.DROP_NO_SERVICE),
            event("192.168.50.10", 81, Verdict.DROP_NO_SERVICE, suppressed=7),
            event("192.168.50.11", 81, Verdict.DROP_NO_SERVICE),
        )
    )
    assert [(str(drop.source), drop.packets) for drop in drops] == [
        ("192.168.50.10", 9),
        ("192.168.50.11", 1),
    ]


def test_a_line_names_who_whom_and_why() -> None:
    (drop,) = sum_drops(records(event("192.168.50.10", 81, Verdict.DROP_NO_SERVICE)))
    assert str(drop) == (
        "1 packet dropped, 192.168.50.10 to 192.168.1.100:81 TCP: "
        "no service listens on this port of a service address"
    )
    assert drop.reason == "DROP_NO_SERVICE"


def test_an_unknown_reason_is_told_as_such() -> None:
    (drop,) = sum_drops(records(event("192.168.50.10", 81, 63)))
    assert "does not know" in str(drop)
    assert drop.reason == "63"


def test_nothing_gives_nothing() -> None:
    assert sum_drops(records()) == []
