"""What an agent tells of flows between two ends: both ways, of that port and time; or why not."""

import time
from typing import Any

import numpy as np
import pytest

from cairn.abi.address import write_address
from cairn.abi.verdicts import Verdict
from cairn.agent.flow_question import (
    LATELY_S,
    LOST_LATELY_S,
    MOST,
    FlowQuestion,
    recent_drops,
    recent_losses,
)
from cairn.flow.columns import FLOW, Batch, Decision, Dictionaries, FlowKind, FlowVerdict
from cairn.flow.store import FlowStore
from cairn.net import Protocol, parse_address

CLIENT, TARGET, OTHER = "192.168.50.10", "192.168.1.100", "10.244.1.9"
ASKED: dict[str, Any] = {
    "command": "FLOWS",
    "clients": [CLIENT],
    "targets": [TARGET],
    "ports": [80],
    "protocol": "TCP",
    "window_s": 300,
}


def record(source: str, to: str, ports: tuple[int, int], **more: Any) -> Any:
    made = np.zeros(1, FLOW)
    made["source"] = np.frombuffer(write_address(parse_address(source)), made["source"].dtype)
    made["destination"] = np.frombuffer(write_address(parse_address(to)), made["source"].dtype)
    made["source_port"], made["destination_port"] = ports
    made["protocol"], made["node"] = int(Protocol.TCP), 1
    values = {"kind": FlowKind.NEW, "verdict": FlowVerdict.FORWARDED, "age_s": 1.0} | more
    made["time_ns"] = time.time_ns() - int(values.pop("age_s") * 1e9)
    for name, value in values.items():
        made[name] = value
    return made


def store(*records: Any, capacity: int = 1000) -> FlowStore:
    kept = FlowStore(capacity)
    known = Dictionaries(nodes={1: "node-1"})
    known.decisions[1] = Decision("NetworkPolicy", "default", "closed", "ingress[0]")
    kept.append(Batch(np.concatenate(records) if records else np.zeros(0, FLOW), known))
    return kept


def test_flows_of_both_ways_are_told_the_latest_first() -> None:
    answer = FlowQuestion(
        store(
            record(CLIENT, TARGET, (4000, 80), age_s=9),
            record(CLIENT, TARGET, (4000, 443)),
            record(CLIENT, OTHER, (4000, 80)),
            record(TARGET, CLIENT, (80, 4000), age_s=5, kind=FlowKind.DROP,
                   verdict=FlowVerdict.DROPPED, decision=1),
            record(CLIENT, TARGET, (4000, 80), age_s=400),
        )
    )(ASKED)  # fmt: skip
    first, second = answer["flows"]
    assert (first["forth"], first["verdict"], first["opener"]) == (False, "DROPPED", 4000)
    assert first["policy"] == "NetworkPolicy/default/closed ingress[0]"
    assert first["age_s"] == pytest.approx(5, abs=2)
    assert (second["forth"], second["verdict"], second["begins"]) == (True, "FORWARDED", True)
    assert second["node"] == "node-1"


def test_it_says_how_far_back_it_remembers() -> None:
    young = FlowQuestion(store())(ASKED)
    assert young["flows"] == []
    assert young["reaches_s"] < 5
    full = store(*(record(CLIENT, OTHER, (1, 2), age_s=60 - n) for n in range(30)), capacity=10)
    assert FlowQuestion(full)(ASKED)["reaches_s"] == pytest.approx(40, abs=2)


def test_no_more_are_told_than_people_look_at() -> None:
    many = store(*(record(CLIENT, TARGET, (n, 80)) for n in range(MOST + 5)))
    told = FlowQuestion(many)(ASKED)["flows"]
    assert len(told) == MOST
    assert told[0]["opener"] == MOST + 4


@pytest.mark.parametrize(
    "change",
    [{"clients": []}, {"clients": ["nobody"]}, {"targets": [], "names": []}, {"ports": ["x"]},
     {"window_s": "soon"}, {"protocol": "carrier pigeon"}],
)  # fmt: skip
def test_what_cannot_be_meant_is_answered(change: dict[str, Any]) -> None:
    answer = FlowQuestion(store())({**ASKED, **change})
    assert answer["error"].startswith("no question about flows: ")


def test_recent_drops_are_counted_by_what_was_wanting() -> None:
    def drop(reason: Verdict, age_s: float = 1.0) -> Any:
        kind = {"kind": FlowKind.DROP, "verdict": FlowVerdict.DROPPED, "reason": int(reason)}
        return record(CLIENT, TARGET, (4000, 80), age_s=age_s, **kind)

    kept = store(
        drop(Verdict.DROP_CONNTRACK_FULL),
        drop(Verdict.DROP_CONNTRACK_FULL),
        drop(Verdict.DROP_PROXY_GONE),
        drop(Verdict.DROP_POLICY_DENIED),
        drop(Verdict.DROP_NO_HOST, age_s=LATELY_S + 5),
        record(CLIENT, TARGET, (4000, 80)),
    )
    assert recent_drops(kept) == {"DROP_CONNTRACK_FULL": 2, "DROP_PROXY_GONE": 1}
    assert recent_drops(store()) == {}


def test_what_was_lost_is_counted_for_a_while() -> None:
    def lost(count: int, age_s: float = 1.0) -> Any:
        return record(CLIENT, TARGET, (0, 0), age_s=age_s, kind=FlowKind.LOST, packets=count)

    kept = store(lost(3), lost(4), lost(500, LOST_LATELY_S + 5), record(CLIENT, TARGET, (1, 80)))
    assert recent_losses(kept) == 7
    assert recent_losses(store()) == 0
