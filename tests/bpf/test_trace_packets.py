"""Packets that a trace asks for, at each point where they are judged: trial runs."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import packets
import pytest
import trial
from trial import (
    CLIENT,
    EMPTY_PORT,
    LOCAL_PORT,
    OTHER_POD,
    PEER_ADDRESS,
    POD,
    REMOTE_PORT,
    VIP,
    Trial,
    datagram,
    from_pod,
    loaded,
    request,
)
from xdp_trial import TX, beside

from cairn.abi.event import Event, EventFlag, EventKind, Point
from cairn.abi.records import EVENT
from cairn.abi.structs import MARK_PROOF, ConfigFlag
from cairn.abi.verdicts import Verdict
from cairn.flow.columns import FLOW, End
from cairn.libbpf.ring import Ring
from cairn.observe.flow_records import FlowRecords, Known
from cairn.observe.trace_filter import ROWS, TraceRow, compile_rows, empty_row, fits

pytestmark = pytest.mark.bpf

A_MINUTE_NS = 60 * 10**9
PACKET = EventKind.PACKET


@dataclass
class Traced:
    """A node with filters."""

    node: Trial
    ring: Ring

    def ask(self, *rows: TraceRow, for_ns: int = A_MINUTE_NS) -> None:
        """Ask for these packets, and no others."""
        entries = compile_rows(rows, time.monotonic_ns() + for_ns)
        for index in range(2 * ROWS):
            entry = entries[index] if index < len(entries) else empty_row()
            self.node.maps["trace_filters"].update(index.to_bytes(4, "little"), entry)

    def seen(self) -> list[Event]:
        """Return the packets that were told."""
        events = [Event.read(record.tobytes()) for record in self.ring.drain()]
        return [event for event in events if event.kind == PACKET]


@contextlib.contextmanager
def tracing(
    flags: ConfigFlag = ConfigFlag.TRACE, *, drop_events: int = 1000, interval_ns: int = 0
) -> Iterator[Traced]:
    with loaded(flags, drop_events=drop_events, interval_ns=interval_ns) as node:
        yield Traced(node, Ring(node.maps["events"], EVENT))


@pytest.fixture(scope="module")
def module_node() -> Iterator[Traced]:
    with tracing() as made:
        yield made


@pytest.fixture
def node(module_node: Traced) -> Traced:
    module_node.ring.drain()
    return module_node


def test_a_request_is_seen_before_and_after_its_translation(node: Traced) -> None:
    node.ask(TraceRow(f"{CLIENT}/32", f"{VIP}/32"))
    frame = request(LOCAL_PORT, source_port=50001)
    node.node.run(frame)
    (seen,) = node.seen()
    assert (seen.point, seen.verdict) == (Point.UPLINK, Verdict.TO_BACKEND)
    assert (str(seen.source), seen.source_port) == (CLIENT, 50001)
    assert (str(seen.destination), seen.destination_port) == (VIP, LOCAL_PORT)
    assert (str(seen.translated), seen.translated_port) == (POD, 8080)
    assert seen.tcp_flags == packets.SYN
    assert seen.length == len(frame)
    assert seen.flags & EventFlag.REPLY == 0


def test_an_answer_is_seen_by_what_it_becomes(node: Traced) -> None:
    node.ask(TraceRow(f"{CLIENT}/32", f"{VIP}/32", LOCAL_PORT))
    node.node.run(request(LOCAL_PORT, source_port=50002))
    node.node.run(from_pod(CLIENT, 50002), "pod_ingress")
    _, answer = node.seen()
    assert (answer.point, answer.verdict) == (Point.POD, Verdict.REPLY)
    assert (str(answer.source), str(answer.destination)) == (POD, CLIENT)
    assert answer.flags & EventFlag.REPLY
    assert (str(answer.translated), answer.translated_port) == (VIP, LOCAL_PORT)


def test_what_is_handed_over_stays_as_it_is(node: Traced) -> None:
    node.ask(TraceRow(destination=f"{VIP}/32", port=REMOTE_PORT))
    node.node.run(request(REMOTE_PORT))
    (seen,) = node.seen()
    assert (seen.verdict, str(seen.translated)) == (Verdict.HANDED_OVER, "::")


def test_a_drop_is_seen_with_its_reason_and_counted_once(node: Traced) -> None:
    node.ask(TraceRow(f"{CLIENT}/32"))
    before = node.node.counted().get((Point.UPLINK, Verdict.DROP_NO_BACKEND), 0)
    node.node.run(request(EMPTY_PORT))
    (seen,) = node.seen()
    assert seen.verdict == Verdict.DROP_NO_BACKEND
    assert node.node.counted()[Point.UPLINK, Verdict.DROP_NO_BACKEND] == before + 1


@pytest.mark.parametrize(
    ("program", "frame", "came_by", "point", "verdict"),
    [
        ("pod_ingress", from_pod(OTHER_POD, 80), 0, Point.POD, Verdict.TO_POD),
        ("pod_ingress", from_pod("203.0.113.9", 80), 0, Point.POD, Verdict.PASS),
        ("pod_egress", from_pod(OTHER_POD, 80), 5, Point.HOST, Verdict.PASS),
        ("overlay_egress", from_pod("203.0.113.9", 80), 0, Point.HOST, Verdict.DROP_TUNNEL_NO_NODE),
        ("uplink_egress", from_pod("203.0.113.9", 80), 5, Point.HOST, Verdict.PASS),
    ],
)
def test_every_point_tells(
    node: Traced, program: str, frame: bytes, came_by: int, point: Point, verdict: Verdict
) -> None:
    node.ask(TraceRow(f"{POD}/32"))
    node.node.run(frame, program, came_by=came_by)
    (seen,) = node.seen()
    assert (seen.point, seen.verdict) == (point, verdict)


def test_xdp_tells_of_what_ends_there(node: Traced) -> None:
    node.ask(TraceRow(destination=f"{VIP}/32"))
    with beside(node.node, trace=True) as xdp:
        run, verdict = xdp.judged(request(REMOTE_PORT, source_port=50003))
        assert (run.verdict, verdict) == (TX, Verdict.HANDED_OVER)
        (seen,) = node.seen()
        assert (seen.point, seen.verdict) == (Point.XDP, Verdict.HANDED_OVER)
        xdp.run(request(LOCAL_PORT, source_port=50004))  # left to tcx, which tells
        assert node.seen() == []


def test_nobody_sees_what_was_not_asked_for(node: Traced) -> None:
    node.ask(
        TraceRow(f"{PEER_ADDRESS}/32", f"{VIP}/32"),
        TraceRow(destination=f"{VIP}/32", port=LOCAL_PORT, protocol=packets.UDP),
        TraceRow(destination=f"{VIP}/32", port=LOCAL_PORT + 1000),
    )
    node.node.run(request(LOCAL_PORT))
    assert node.seen() == []
    node.node.run(datagram(LOCAL_PORT))
    assert len(node.seen()) == 1


def test_what_the_agent_sends_to_prove_the_way_is_not_seen(node: Traced) -> None:
    node.ask(TraceRow(destination=f"{VIP}/32"))
    node.node.run(request(LOCAL_PORT), mark=MARK_PROOF)
    assert node.seen() == []


def test_filters_end_by_themselves(node: Traced) -> None:
    node.ask(TraceRow(f"{CLIENT}/32"), for_ns=-1)
    node.node.run(request(LOCAL_PORT))
    assert node.seen() == []


def test_programs_without_the_flag_look_at_no_filter() -> None:
    with tracing(ConfigFlag.EVENTS) as node:
        node.ask(TraceRow())
        node.node.run(request(LOCAL_PORT))
        assert node.seen() == []


def test_a_flood_is_told_within_the_budget_and_the_rest_is_counted() -> None:
    with tracing(drop_events=3, interval_ns=10**8) as node:
        node.ask(TraceRow())
        for _ in range(20):
            node.node.run(request(LOCAL_PORT))
        first = node.seen()
        assert len(first) <= 12  # three for each interval and CPU that the runs took
        time.sleep(0.1)
        until = time.monotonic() + 5
        told, suppressed = len(first), sum(event.suppressed for event in first)
        while told + suppressed < 21 and time.monotonic() < until:
            node.node.run(request(LOCAL_PORT))
            for event in node.seen():
                told, suppressed = told + 1, suppressed + event.suppressed
        assert suppressed > 0
        assert told + suppressed >= 21


PLACES = ("", "0.0.0.0/0", f"{CLIENT}/32", "203.0.113.0/24", "::/0", f"{VIP}/32", "10.0.0.0/8")


def test_both_halves_of_the_rule_agree(node: Traced) -> None:
    """The data plane's loop and the agent's columns choose the same packets."""
    frames = (
        request(LOCAL_PORT, source_port=50005),
        request(EMPTY_PORT),
        datagram(REMOTE_PORT),
        trial.datagram(LOCAL_PORT, to=trial.FREE),
    )
    node.ask(TraceRow())
    for frame in frames:
        node.node.run(frame)
    told = node.seen()
    assert len(told) == len(frames)
    records = FlowRecords(
        "node", lambda _: Known(End(), 0), lambda _: None, lambda _: None
    ).of_events(
        np.frombuffer(b"".join(event.write() for event in told), EVENT), offset_ns=0, now_ns=0
    )
    assert records.records.dtype == FLOW
    chosen = 0
    for source, destination, port, protocol in product(
        PLACES, PLACES, (0, LOCAL_PORT), (0, packets.TCP)
    ):
        row = TraceRow(source, destination, port, protocol)
        node.ask(row)
        seen = []
        for frame in frames:
            node.node.run(frame)
            seen.append(bool(node.seen()))
        assert seen == fits([row], records.records).tolist(), row
        chosen += sum(seen)
    assert 50 < chosen < 500
