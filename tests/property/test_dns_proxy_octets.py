"""Any octets at all: the proxy's core gives a verdict, and learns only what was asked."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cairn.dns import Message, Question, Record, Type
from cairn.dns.answer import belongs, read_answer
from cairn.dns.learnt import Keeping, Names
from cairn.dns.message import read_message, write_message
from cairn.dns.name import fold, parse_name
from cairn.dns.pattern import compile_pattern
from cairn.dns.pending import Pending, Unasked, Waiting
from cairn.dns.proxy import Proxy
from cairn.dns.query import Query, Refusal, read_query
from cairn.net import parse_address
from cairn.wire import Malformed

PORT = 15000
SERVER = ("192.0.2.53", 53)
LABELS = st.binary(min_size=1, max_size=20)
NAMES = st.lists(LABELS, max_size=6).map(tuple)
HEADS = st.sampled_from([b"", b"\0\1\1\0\0\1\0\0\0\0\0\0", b"\0\1\x81\x80\0\1\0\2\0\0\0\0"])
OCTETS = st.tuples(HEADS, st.binary(max_size=300)).map(b"".join)
NUMBERS = st.integers(0, 65535)


def query_for(name: tuple[bytes, ...], kind: int = Type.A) -> bytes:
    return write_message(Message(1, questions=(Question(name, kind),)))


def proxy() -> Proxy:
    found = Proxy(Names(64), Keeping())
    found.listen({PORT: [("", "*")]})
    found.names.select([("", "*", 1 << 25)])
    return found


@given(OCTETS)
def test_a_query_or_a_refusal(octets: bytes) -> None:
    verdict = proxy().ask(PORT, octets)
    if isinstance(verdict, Refusal):
        assert verdict.reason
        assert not verdict.reply or verdict.reply[:2] == octets[:2]
        if verdict.reply:
            assert read_message(verdict.reply).response
    else:
        assert verdict.octets == octets
        assert verdict.folded.endswith(b"\0")
        assert len(verdict.folded) <= 255


@given(NAMES, NUMBERS)
def test_a_query_says_what_was_asked(name: tuple[bytes, ...], kind: int) -> None:
    query = read_query(query_for(name, kind))
    if kind in (251, 252):
        assert isinstance(query, Refusal)
        return
    assert isinstance(query, Query)
    assert query.type == kind
    assert parse_name(query.name) == fold(name)


@given(st.binary(max_size=400), st.integers(1, 5))
def test_any_answer_is_read_or_malformed(body: bytes, count: int) -> None:
    octets = query_for((b"www", b"example", b"com"))
    query = read_query(octets)
    assert isinstance(query, Query)
    said = octets[:2] + b"\x81\x80\0\1" + bytes([0, count]) + octets[8:] + body
    assert belongs(said, query.question)
    try:
        found = read_answer(said, query.question)
    except Malformed:
        return
    assert len(found.addresses) + found.strays <= count
    assert all(len(address) == 16 for address in found.addresses)


@given(OCTETS, st.integers(0, 3))
def test_pending_takes_any_octets(octets: bytes, number: int) -> None:
    pending = Pending(lambda: number)
    query = read_query(query_for((b"a",)))
    assert isinstance(query, Query)
    pending.open(query, ("10.0.0.1", 1), SERVER, 1.0)
    found = pending.close(octets, SERVER)
    assert isinstance(found, Unasked) or (
        isinstance(found, Waiting) and octets[:2] == number.to_bytes(2, "big")
    )


@given(
    NAMES.filter(bool), st.lists(NAMES.filter(bool), min_size=1, max_size=5), st.integers(0, 2**31)
)
def test_only_the_chain_of_the_name_is_learnt(
    name: tuple[bytes, ...], chain: list[tuple[bytes, ...]], ttl_s: int
) -> None:
    """A chain name -> chain[0] -> chain[1] … with an address for each: only the last counts."""
    steps = list(dict.fromkeys(map(fold, [name, *chain])))
    records = [Record(a, Type.CNAME, 1, ttl_s, b) for a, b in pairwise(steps)]
    for number, step in enumerate(steps):
        address = parse_address(f"198.51.100.{number}")
        records.append(Record(step, Type.A, 1, ttl_s, address))
    octets = query_for(name)
    query = read_query(octets)
    assert isinstance(query, Query)
    message = Message(1, response=True, questions=(Question(name, Type.A),), answers=tuple(records))
    found = read_answer(write_message(message), query.question)
    last = parse_address(f"198.51.100.{len(steps) - 1}").packed
    assert [address[12:] for address in found.addresses] == [last]
    assert found.strays == len(steps) - 1


@given(st.text("ab*.", max_size=12), st.text("ab.", max_size=10))
def test_patterns_mean_what_a_slow_matcher_says(pattern: str, name: str) -> None:
    if pattern.startswith("**.") or pattern.removesuffix(".") == "*" or name.endswith("."):
        return
    wanted = slow(pattern.removesuffix("."), name)
    assert bool(compile_pattern(pattern).fullmatch(name)) == wanted


def slow(pattern: str, name: str) -> bool:
    """Match by the definition: a star is nothing, or one character but the dot and a star."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return slow(pattern[1:], name) or (
            bool(name) and name[0] != "." and slow(pattern, name[1:])
        )
    return bool(name) and name[0] == pattern[0] and slow(pattern[1:], name[1:])
