"""Which connections a sweep takes for ended: by state, by silence, by how full the map is."""

import numpy as np
import pytest
from connections import BACKEND, NOW_NS, SERVICE, Flow

from cairn.abi.records import CONNECTION, TUPLE
from cairn.abi.structs import State
from cairn.net import Protocol, parse_address
from cairn.observe.expiry import Limits, Phase, Sweep

NEW, ESTABLISHED, CLOSING = State.NEW, State.ESTABLISHED, State.CLOSING


def swept(*flows: Flow, capacity: int = 1_000_000, batch: int = 3) -> set[int]:
    """Return the client ports of the flows that lose all their entries."""
    entries = [(key, value, flow.port) for flow in flows for key, value in flow.entries().items()]
    walk = Sweep(NOW_NS, np.array([SERVICE], "<u4"), np.array([BACKEND], "<u4"))
    # Both entries of a flow fall into different batches.
    for start in range(batch):
        some = entries[start::batch]
        keys, values = b"".join(e[0] for e in some), b"".join(e[1] for e in some)
        walk.add(np.frombuffer(keys, TUPLE), np.frombuffer(values, CONNECTION))
    found = walk.expired(capacity)
    assert found.entries == len(entries)
    assert len(found.keys) == found.count * TUPLE.itemsize
    step = TUPLE.itemsize
    gone = {found.keys[at : at + step] for at in range(0, len(found.keys), step)}
    assert len(gone) == found.count
    for flow in flows:
        assert len(gone & flow.entries().keys()) in (0, len(flow.entries())), f"half of {flow}"
    return {flow.port for flow in flows if flow.entries().keys() <= gone}


def tcp(port: int, forward: State, reverse: State | None, silent_s: float) -> Flow:
    return Flow(port, forward=forward, reverse=reverse, silent_s=silent_s)


@pytest.mark.parametrize(
    ("forward", "reverse", "limit_s"),
    [
        (NEW, NEW, 60),
        (NEW, None, 60),
        (ESTABLISHED, NEW, 7440),
        (ESTABLISHED, ESTABLISHED, 7440),
        (ESTABLISHED, None, 7440),
        (CLOSING, ESTABLISHED, 240),
        (ESTABLISHED, CLOSING, 240),
        (NEW, CLOSING, 240),
        (CLOSING, CLOSING, 30),
        (CLOSING, None, 30),
    ],
)
def test_tcp_limits(forward: State, reverse: State | None, limit_s: float) -> None:
    young, old = (tcp(1, forward, reverse, limit_s - 1), tcp(2, forward, reverse, limit_s + 1))
    assert swept(young, old) == {2}


@pytest.mark.parametrize(("protocol", "limit_s"), [(Protocol.UDP, 120), (Protocol.SCTP, 300)])
def test_other_limits(protocol: Protocol, limit_s: float) -> None:
    young, old = (Flow(1, protocol, silent_s=limit_s - 1), Flow(2, protocol, silent_s=limit_s + 1))
    assert swept(young, old) == {2}


def test_one_side_that_speaks_keeps_both() -> None:
    stream = Flow(1, Protocol.UDP, silent_s=1, reverse_silent_s=50_000)
    download = Flow(2, Protocol.UDP, silent_s=50_000, reverse_silent_s=1)
    silent = Flow(3, Protocol.UDP, silent_s=50_000, reverse_silent_s=40_000)
    assert swept(stream, download, silent) == {3}


def test_clients_and_protocols_are_told_apart() -> None:
    six = parse_address("2001:db8::7")
    assert swept(
        Flow(1, Protocol.UDP, silent_s=500),
        Flow(2, Protocol.UDP, client=six, silent_s=500),
        Flow(3, Protocol.TCP, silent_s=500),
        Flow(4, Protocol.UDP, client=six, silent_s=1),
    ) == {1, 2}
    assert swept(Flow(5, Protocol.UDP, silent_s=500), Flow(6, Protocol.TCP, silent_s=1)) == {5}
    other = Flow(5, Protocol.UDP, client=six, silent_s=1)
    assert swept(Flow(7, Protocol.UDP, silent_s=500), other) == {7}


@pytest.mark.parametrize(
    ("fill", "limit_s"), [(0.5, 120), (0.75, 120), (0.85, 67.5), (0.95, 15), (1.0, 15)]
)
def test_a_full_map_is_swept_harder(fill: float, limit_s: float) -> None:
    flows = [Flow(port, Protocol.UDP, silent_s=limit_s - 4) for port in range(1, 50)]
    flows.append(Flow(1000, Protocol.UDP, silent_s=limit_s + 1))
    assert swept(*flows, capacity=int(100 / fill)) == {1000}


def test_a_service_that_is_no_more() -> None:
    gone = Flow(1, service=77)
    just_begun = Flow(2, service=78, age_s=0.5)
    assert swept(gone, just_begun, Flow(3)) == {1}


def test_a_backend_that_is_no_more_is_told_for_a_while() -> None:
    assert swept(Flow(1, backend=9, silent_s=200), Flow(2, backend=9, silent_s=300)) == {2}


def test_packets_after_the_clock_was_read_are_no_silence() -> None:
    assert swept(Flow(1, silent_s=-5), tcp(2, CLOSING, CLOSING, -5)) == set()


def test_connections_are_counted_by_phase() -> None:
    walk = Sweep(NOW_NS, np.array([SERVICE], "<u4"), np.array([BACKEND], "<u4"))
    for flow in (Flow(1), Flow(2), tcp(3, CLOSING, None, 1), Flow(4, Protocol.UDP)):
        keys, values = zip(*flow.entries().items(), strict=True)
        walk.add(np.frombuffer(b"".join(keys), TUPLE), np.frombuffer(b"".join(values), CONNECTION))
    found = walk.expired(100)
    assert found.entries == 7
    assert found.connections == {Phase.ESTABLISHED: 2, Phase.CLOSING: 1, Phase.DATAGRAMS: 1}


def test_an_empty_map() -> None:
    walk = Sweep(NOW_NS, np.empty(0, "<u4"), np.empty(0, "<u4"), Limits())
    assert walk.expired(100).count == 0
