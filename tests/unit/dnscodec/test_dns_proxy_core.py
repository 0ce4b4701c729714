"""The proxy's judgement without sockets: what passes, what is learnt, who an answer is for."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from cairn.abi.address import write_address
from cairn.dns import Edns, Message, Question, Rcode, Record, Type, parse_name
from cairn.dns.answer import belongs, read_answer
from cairn.dns.learnt import Keeping, Names
from cairn.dns.message import read_message, write_message
from cairn.dns.pending import Pending, Unasked, Waiting
from cairn.dns.proxy import Proxy
from cairn.dns.query import Query, Refusal, read_query
from cairn.net import parse_address
from cairn.wire import Malformed

PORT, SELECTOR = 15000, 1 << 25
SERVER, CLIENT = ("192.0.2.53", 53), ("10.244.1.5", 40000)


def ask(name: str, kind: int = Type.A, **more: Any) -> bytes:
    questions = (Question(parse_name(name), kind, more.pop("klass", 1)),)
    return write_message(Message(77, recursion_desired=True, questions=questions, **more))


def answer(query: bytes, *records: tuple[str, int, Any, int], **more: Any) -> bytes:
    """Return a response to `query`; a record is its name, type, data and TTL."""
    asked = read_message(query)
    answers = tuple(Record(parse_name(n), kind, 1, ttl, data) for n, kind, data, ttl in records)
    return write_message(
        Message(asked.id, response=True, questions=asked.questions, answers=answers, **more)
    )


def a(name: str, address: str, ttl: int = 30) -> tuple[str, int, Any, int]:
    found = parse_address(address)
    return name, Type.A if found.version == 4 else Type.AAAA, found, ttl


def alias(name: str, target: str, ttl: int = 30) -> tuple[str, int, Any, int]:
    return name, Type.CNAME, parse_name(target), ttl


def octets_of(*addresses: str) -> tuple[bytes, ...]:
    return tuple(write_address(parse_address(text)) for text in addresses)


@pytest.fixture
def proxy() -> Proxy:
    names = Names()
    names.select([("", "*.example.com", SELECTOR)])
    found = Proxy(names, Keeping())
    found.listen({PORT: [("www.example.com", ""), ("", "*.org")]})
    return found


@pytest.mark.parametrize("name", ["www.example.com", "WwW.eXample.COM.", "debian.org"])
def test_an_allowed_name_passes_unchanged(proxy: Proxy, name: str) -> None:
    octets = ask(name, edns=Edns(4096, dnssec_ok=True))
    for _ in range(2):
        query = proxy.ask(PORT, octets)
        assert isinstance(query, Query)
        assert query.octets == octets
        assert query.name == name.lower().removesuffix(".")


@pytest.mark.parametrize("name", ["example.com", "a.www.example.com", "x.debian.org", "."])
def test_another_name_does_not(proxy: Proxy, name: str) -> None:
    refusal = proxy.ask(PORT, ask(name, edns=Edns(4096)))
    assert isinstance(refusal, Refusal)
    said = read_message(refusal.reply)
    assert (said.id, said.response, said.rcode) == (77, True, Rcode.NXDOMAIN)
    assert said.questions == (Question(parse_name(name), Type.A),)
    assert said.edns is not None
    assert b"network policy" in said.edns.options
    assert proxy.counts["refused"] == 1
    bare = proxy.ask(PORT, ask(name))
    assert isinstance(bare, Refusal)
    assert read_message(bare.reply).edns is None


def test_refused_is_a_choice_and_rules_change() -> None:
    proxy = Proxy(Names(), Keeping(), refuse_with=Rcode.REFUSED)
    proxy.listen({PORT: [("a.test", "")]})
    refusal = proxy.ask(PORT, ask("b.test"))
    assert isinstance(refusal, Refusal)
    assert read_message(refusal.reply).rcode == Rcode.REFUSED
    proxy.listen({PORT: [("b.test", "")]})
    assert isinstance(proxy.ask(PORT, ask("b.test")), Query)
    assert isinstance(proxy.ask(PORT, ask("a.test")), Refusal)
    proxy.listen({})
    assert isinstance(proxy.ask(PORT, ask("b.test")), Refusal)


@pytest.mark.parametrize(
    ("octets", "reason", "rcode"),
    [
        (b"", "malformed", None),
        (b"\0" * 12, "malformed", None),
        (ask("www.example.com", response=True), "not a query", None),
        (ask("www.example.com", opcode=5), "opcode", Rcode.NOTIMP),
        (ask("www.example.com", klass=3), "class", Rcode.REFUSED),
        (ask("www.example.com", 252), "zone transfer", Rcode.REFUSED),
        (ask("www.example.com")[:20], "malformed", Rcode.FORMERR),
        (ask("www.example.com")[:-1], "malformed", Rcode.FORMERR),
        (ask("www.example.com")[:12] + b"\xc0\x0c\0\1\0\1", "malformed", Rcode.FORMERR),
        (ask("www.example.com")[:4] + b"\0\2" + ask("www.example.com")[6:], "not one question",
         Rcode.FORMERR),
        (ask("x")[:12] + b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 3 + b"\0\0\1\0\1",
         "malformed", Rcode.FORMERR),
    ],
)  # fmt: skip
def test_what_is_no_query_has_a_reason(
    proxy: Proxy, octets: bytes, reason: str, rcode: Rcode | None
) -> None:
    refusal = proxy.ask(PORT, octets)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert proxy.counts[f"rejected: {reason}"] == 1
    if rcode is None:
        assert refusal.reply == b""
    else:
        assert read_message(refusal.reply).rcode == rcode


@pytest.mark.parametrize(
    ("records", "addresses", "ttl_s", "strays"),
    [
        ([a("www.example.com", "198.51.100.1", 60), a("www.example.com", "2001:db8::1", 20)],
         ["198.51.100.1", "2001:db8::1"], 20, 0),
        ([a("WWW.example.com", "198.51.100.1")], ["198.51.100.1"], 30, 0),
        ([alias("www.example.com", "b.net", 10), alias("b.net", "c.net"),
          a("c.net", "198.51.100.1", 300)], ["198.51.100.1"], 10, 0),
        ([a("c.net", "198.51.100.1", 300), alias("c.net", "d.net"), a("d.net", "198.51.100.9"),
          alias("www.example.com", "c.net")], ["198.51.100.9"], 30, 1),
        ([a("evil.net", "198.51.100.1"), a("www.example.com", "198.51.100.2")],
         ["198.51.100.2"], 30, 1),
        ([alias("www.example.com", "b.net"), a("www.example.com", "198.51.100.1")], [], 0, 1),
        ([alias("www.example.com", "b.net"), alias("b.net", "www.example.com")], [], 0, 0),
        ([], [], 0, 0),
    ],
)  # fmt: skip
def test_what_an_answer_says(
    records: Sequence[tuple[str, int, Any, int]], addresses: list[str], ttl_s: int, strays: int
) -> None:
    octets = ask("www.example.com")
    query = read_query(octets)
    assert isinstance(query, Query)
    said = answer(octets, *records)
    assert belongs(said, query.question)
    found = read_answer(said, query.question)
    assert found.addresses == octets_of(*addresses)
    assert (found.ttl_s, found.strays) == (ttl_s, strays)


def test_a_failed_answer_teaches_nothing() -> None:
    octets = ask("www.example.com")
    query = read_query(octets)
    assert isinstance(query, Query)
    said = answer(octets, a("www.example.com", "198.51.100.1"), rcode=Rcode.NXDOMAIN)
    assert read_answer(said, query.question).addresses == ()
    assert belongs(answer(octets, rcode=Rcode.SERVFAIL), query.question)
    bare = write_message(Message(77, response=True, rcode=Rcode.FORMERR))
    assert belongs(bare, query.question)
    assert not belongs(write_message(Message(77, response=True)), query.question)


def test_hundreds_of_addresses_are_learnt(proxy: Proxy) -> None:
    octets = ask("www.example.com")
    query = proxy.ask(PORT, octets)
    assert isinstance(query, Query)
    many = [f"198.51.{n >> 8}.{n & 255}" for n in range(1000)]
    said = answer(octets, *(a("www.example.com", text) for text in many))
    assert proxy.learn(query, query.question, said, 0.0) == octets_of(*many)
    assert proxy.names.changes() == dict.fromkeys(octets_of(*many), (SELECTOR,))


def test_an_answer_that_cannot_be_read_is_no_answer_unless_it_is_cut(proxy: Proxy) -> None:
    octets = ask("www.example.com")
    query = proxy.ask(PORT, octets)
    assert isinstance(query, Query)
    said = answer(octets, a("www.example.com", "198.51.100.1"))[:-2]
    with pytest.raises(Malformed):
        proxy.learn(query, query.question, said, 0.0)
    cut = said[:2] + bytes([said[2] | 2]) + said[3:]
    assert proxy.learn(query, query.question, cut, 0.0) == ()
    assert proxy.counts["malformed answers"] == 1


def waiting_query(numbers: Sequence[int], most: int = 9) -> tuple[Pending, bytes, Query]:
    supply = iter(numbers)
    pending = Pending(lambda: next(supply), most=most)
    octets = ask("www.example.com")
    query = read_query(octets)
    assert isinstance(query, Query)
    return pending, octets, query


def test_only_the_true_answer_counts() -> None:
    pending, octets, query = waiting_query([5, 5, 6])
    out = pending.open(query, CLIENT, SERVER, 4.0)
    assert out == b"\0\5" + octets[2:]
    assert pending.open(query, CLIENT, SERVER, 4.0) == b"\0\6" + octets[2:]
    said = answer(out, a("www.example.com", "198.51.100.1"))
    other = answer(b"\0\5" + ask("evil.example.com")[2:], a("evil.example.com", "203.0.113.1"))
    for forged, source, reason in (
        (b"\0\7" + said[2:], SERVER, "unasked id"),
        (said, ("192.0.2.54", 53), "unasked source"),
        (said, ("192.0.2.53", 54), "unasked source"),
        (other, SERVER, "unasked question"),
        (out, SERVER, "unasked question"),
        (b"\0\5", SERVER, "malformed answers"),
    ):
        assert pending.close(forged, source) == Unasked(reason)
    found = pending.close(said, SERVER)
    assert isinstance(found, Waiting)
    assert (found.client, found.query) == (CLIENT, query)
    assert pending.close(said, SERVER) == Unasked("unasked id"), "once only"


def test_waiting_is_bounded_in_number_and_time() -> None:
    supply = count()
    pending = Pending(lambda: next(supply), most=2)
    _, _, query = waiting_query([])
    assert pending.open(query, CLIENT, SERVER, 4.0)
    assert pending.open(query, CLIENT, SERVER, 5.0)
    assert pending.open(query, CLIENT, SERVER, 6.0) is None
    assert [late.deadline for late in pending.expire(4.0)] == [4.0]
    assert pending.open(query, CLIENT, SERVER, 8.0)
    assert [late.deadline for late in pending.expire(9.0)] == [5.0, 8.0]
    assert len(pending) == 0
