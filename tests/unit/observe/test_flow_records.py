"""Events become flows: times, verdicts, names, rules."""

from dataclasses import replace

import numpy as np

from cairn.abi.event import Event, EventKind
from cairn.abi.records import EVENT
from cairn.abi.verdicts import Verdict
from cairn.dns.lookup import Lookup, Outcome
from cairn.flow.address import read_octets
from cairn.flow.columns import Decision, DnsDetail, End, FlowKind, FlowVerdict, HttpDetail
from cairn.flow.renumbering import Numberings, Renumbering
from cairn.flow.store import FlowStore
from cairn.flow.view import FlowRow, rows
from cairn.hubble.columns_wire import Piece, read_piece, write_piece
from cairn.net import parse_address
from cairn.observe.access_log import Line
from cairn.observe.flow_records import Asked, FlowRecords, Known
from cairn.observe.flow_requests import of_lookups, of_requests

BLANK = Event.read(bytes(Event.SIZE))
RULE = Decision("NetworkPolicy", "shop", "deny", "ingress[0]")
HTTP_RULE = Decision("CiliumNetworkPolicy", "shop", "web", "ingress[1]")


def who(octets: bytes) -> Known:
    address = read_octets(octets)
    return Known(End("shop", f"pod-{address}"), 300 + int(address) % 100)


def judge(asked: Asked) -> Decision | None:
    return HTTP_RULE if asked.ingress and asked.port == 80 else None


def maker() -> FlowRecords:
    return FlowRecords("node-1", who, {7: RULE}.get, judge)


def event(kind: int, verdict: int = 0, rule: int = 0, source: str = "10.0.0.1") -> bytes:
    made = replace(
        BLANK,
        time_ns=50,
        source=parse_address(source),
        destination=parse_address("10.0.0.2"),
        destination_port=80,
        protocol=6,
        kind=kind,
        verdict=verdict,
        rule=rule,
    )
    return made.write()


def told(*events: bytes) -> list[FlowRow]:
    store = FlowStore(100)
    batch = maker().of_events(np.frombuffer(b"".join(events), EVENT), offset_ns=1_000, now_ns=60)
    store.append(batch)
    return [row for array in store.records for row in rows(array, store.dictionaries)]


def test_a_drop_names_both_ends_and_the_rule() -> None:
    (row,) = told(event(EventKind.DROP, Verdict.DROP_POLICY_DENIED, 7))
    assert (row.time_ns, row.verdict, row.node) == (1050, FlowVerdict.DROPPED, "node-1")
    assert (row.source.pod, row.destination.pod) == ("pod-10.0.0.1", "pod-10.0.0.2")
    assert (row.decision, row.destination_port) == (RULE, 80)
    assert row.source_identity == who(parse_octets("10.0.0.1")).identity
    assert row.reason == Verdict.DROP_POLICY_DENIED.text


def parse_octets(text: str) -> bytes:
    return b"\0" * 10 + b"\xff\xff" + parse_address(text).packed


def test_every_kind_has_a_verdict() -> None:
    for row in told(*(event(kind) for kind in EventKind)):
        assert row.verdict != FlowVerdict.UNKNOWN
    (unknown,) = told(event(200))
    assert (unknown.kind, unknown.verdict) == (200, FlowVerdict.UNKNOWN)


def test_many_addresses_keep_their_own_names() -> None:
    sources = [f"10.0.{n // 200}.{n % 200}" for n in range(1000)]
    store = FlowStore(1000)
    events = np.frombuffer(b"".join(event(1, source=s) for s in sources), EVENT)
    store.append(maker().of_events(events, offset_ns=0, now_ns=0))
    found = [row for array in store.records for row in rows(array, store.dictionaries)]
    assert [row.source.pod for row in found] == [f"pod-{source}" for source in sources]


def test_a_drop_of_the_kernel_has_its_own_word_for_it_also_at_the_relay() -> None:
    made = maker()
    made.name_kernel_reasons({12: "NETFILTER_DROP"})
    octets = replace(
        Event.read(event(EventKind.KERNEL_DROP, Verdict.DROP_KERNEL)), kernel_reason=12
    ).write()
    batch = made.of_events(np.frombuffer(octets, EVENT), offset_ns=0, now_ns=60)
    at_relay = Renumbering(Numberings())
    store = FlowStore(100)
    for other in (maker().of_events(np.empty(0, EVENT), offset_ns=0, now_ns=60), batch):
        piece = Piece("store", 1, 0, other)
        store.append(at_relay.batch(read_piece(write_piece(piece)).batch))
    (row,) = rows(store.records[0], store.dictionaries)
    assert (row.verdict, row.kind) == (FlowVerdict.DROPPED, FlowKind.KERNEL_DROP)
    assert row.reason == "kernel: NETFILTER_DROP"
    (unnamed,) = told(octets)
    assert unnamed.reason == "kernel: reason 12"


def test_lost_events_are_flows() -> None:
    store = FlowStore(10)
    store.append(maker().lost({1: 40, 5: 2}, 99, 0))
    found = [row for array in store.records for row in rows(array, store.dictionaries)]
    assert [(row.kind, row.packets) for row in found] == [(FlowKind.LOST, 40), (FlowKind.LOST, 2)]
    assert found[0].summary == "40 events lost"


def test_requests_and_lookups_are_flows() -> None:
    made, store = maker(), FlowStore(10)
    line = Line(
        time="2026-01-02T03:04:05.678Z",
        direction="ingress",
        source="10.0.0.1:4000",
        destination="[fd00::2]:80",
        protocol="HTTP/1.1",
        method="GET",
        host="web",
        path="/a",
        status=403,
        rule="denied",
        duration_ms=3,
    )
    requests = of_requests([line, Line()], made.numberings)
    assert requests.bad == 1
    store.append(made.finish(requests.records, 0))
    question = b"\3www\4test\0\0\1\0\1"
    answer = (
        b"\0\1\x81\x80\0\1\0\1\0\0\0\0" + question + b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\0\0\x09"
    )
    lookup = Lookup(5, "10.0.0.1", 999, "10.0.0.2", 53, Outcome.ANSWERED, answer, 250)
    lookups = of_lookups([lookup, replace_message(lookup, b"short")], made.numberings)
    assert lookups.bad == 1
    assert lookups.learnt == (("www.test", (parse_address("10.0.0.9"),)),)
    store.append(made.finish(lookups.records, 0))
    http, dns = (row for array in store.records for row in rows(array, store.dictionaries))
    assert http.detail == HttpDetail("GET", "http://web/a", "HTTP/1.1", 403, 3_000_000)
    assert (http.verdict, http.time_ns) == (FlowVerdict.DROPPED, 1_767_323_045_678_000_000)
    assert (http.decision, dns.decision) == (HTTP_RULE, None)
    assert dns.detail == DnsDetail("www.test.", ("A",), 0, ("10.0.0.9",), (), 30, 250_000)


def replace_message(lookup: Lookup, message: bytes) -> Lookup:
    return Lookup(lookup.time_ns, lookup.client, 1, lookup.server, 53, lookup.outcome, message)
