"""DNS messages: vectors, inverse functions, and no octets that break the decoder."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cairn.dns import (
    Class,
    Edns,
    Message,
    Question,
    Rcode,
    Record,
    Soa,
    Srv,
    Type,
    parse_name,
    read_message,
    spell_name,
    write_message,
)
from cairn.dns.message import udp_limit
from cairn.wire import Malformed

# A query of dig for my-web-app.default.svc.cluster.local A, with EDNS (udp 1232).
QUERY = bytes.fromhex(
    "1234 0120 0001 0000 0000 0001"
    "0a 6d792d7765622d617070 07 64656661756c74 03 737663 07 636c7573746572 05 6c6f63616c 00"
    "0001 0001"
    "00 0029 04d0 00000000 0000"
)
# RFC 1035 s4.1.4: F.ISI.ARPA, then FOO.F.ISI.ARPA as a label and a pointer to the first.
POINTED = bytes.fromhex(
    "0001 8000 0000 0002 0000 0000"
    "01 46 03 495349 04 41525041 00 0001 0001 0000000a 0004 0a000001"
    "03 464f4f c00c 0001 0001 0000000a 0004 0a000002"
)


def test_a_query_of_dig() -> None:
    message = read_message(QUERY)
    name = parse_name("my-web-app.default.svc.cluster.local")
    assert message.questions == (Question(name, Type.A),)
    assert message.recursion_desired
    assert message.edns == Edns(1232)
    assert write_message(message) == QUERY


def test_compression_of_rfc_1035() -> None:
    message = read_message(POINTED)
    assert [spell_name(record.name) for record in message.answers] == [
        "F.ISI.ARPA.",
        "FOO.F.ISI.ARPA.",
    ]
    assert write_message(message) == POINTED


HEADER = "0000 0000 0001 0000 0000 0000"
BAD = [
    ("", "2 octets wanted, 0 left"),
    (HEADER, "wanted"),
    (HEADER + "c00c 0001 0001", "compression pointer to 12, not before 12"),
    (HEADER + "c0ff 0001 0001", "compression pointer to 255"),
    (HEADER + "01 61 c00c 0001 0001", "compression pointer to 12, not before 12"),
    (HEADER + "40 00 0001 0001", "label type 1"),
    (HEADER + "3f" + "61" * 63 + ("3f" + "61" * 63) * 3 + "00 0001 0001", "name of more than 255"),
    (HEADER + "00 0001 0001 00", "1 octets after the last record"),
    ("0000 0000 0000 0001 0000 0000 00 0001 0001 00000000 0003 010203", "address of 3 octets"),
    ("0000 0000 0000 0001 0000 0000 00 0005 0001 00000000 0002 0000", "octets after the data"),
    ("0000 0000 0000 0000 0000 0002" + "00 0029 04d0 00000000 0000" * 2, "2 OPT records"),
]


@pytest.mark.parametrize(("octets", "words"), BAD)
def test_malformed(octets: str, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read_message(bytes.fromhex(octets))


labels = st.binary(min_size=1, max_size=12)
names = st.lists(labels, max_size=6).map(tuple)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
data: list[tuple[int, st.SearchStrategy[Any]]] = [
    (Type.A, st.binary(min_size=4, max_size=4).map(IPv4Address)),
    (Type.AAAA, st.binary(min_size=16, max_size=16).map(IPv6Address)),
    (Type.NS, names),
    (Type.CNAME, names),
    (Type.PTR, names),
    (Type.SRV, st.builds(Srv, u16, u16, u16, names)),
    (Type.SOA, st.builds(Soa, names, names, u32, u32, u32, u32, u32)),
    (Type.TXT, st.binary(max_size=40)),
    (65280, st.binary(max_size=40)),
]
records = st.one_of(
    *(st.builds(Record, names, st.just(int(number)), u16, u32, values) for number, values in data)
)
sections = st.lists(records, max_size=3).map(tuple)
messages = st.builds(
    Message,
    id=u16,
    response=st.booleans(),
    opcode=st.integers(0, 15),
    authoritative=st.booleans(),
    truncated=st.booleans(),
    recursion_desired=st.booleans(),
    recursion_available=st.booleans(),
    reserved=st.integers(0, 7),
    rcode=st.integers(0, 15),
    questions=st.lists(st.builds(Question, names, u16, u16), max_size=2).map(tuple),
    answers=sections,
    authorities=sections,
    additionals=sections,
    edns=st.none()
    | st.builds(Edns, u16, st.integers(0, 255), st.booleans(), st.binary(max_size=20)),
)


@given(messages)
def test_what_is_written_is_read(message: Message) -> None:
    assert read_message(write_message(message)) == message


def read_or_refuse(octets: bytes) -> Message | Malformed:
    try:
        return read_message(octets)
    except Malformed as error:
        return error


@given(st.binary(max_size=200))
@example(QUERY)
@example(POINTED)
def test_any_octets_are_a_message_or_malformed(octets: bytes) -> None:
    found = read_or_refuse(octets)
    if isinstance(found, Malformed):
        assert found.at >= 0
    else:
        assert read_message(write_message(found)) == found


@given(st.integers(0, len(QUERY) - 1), st.integers(0, 255))
def test_a_query_with_one_other_octet(place: int, octet: int) -> None:
    octets = bytearray(QUERY)
    octets[place] = octet
    assert isinstance(read_or_refuse(bytes(octets)), Message | Malformed)


@given(messages, st.integers(12, 600))
def test_what_is_too_long_says_so(message: Message, limit: int) -> None:
    octets = write_message(message, limit=limit)
    if len(write_message(message)) > limit:
        short = read_message(octets)
        assert short.truncated
        assert not short.answers
        assert short.questions == message.questions
    else:
        assert octets == write_message(message)


@pytest.mark.parametrize(("edns", "limit"), [(None, 512), (100, 512), (1000, 1000), (4096, 1232)])
def test_how_long_an_answer_may_be(edns: int | None, limit: int) -> None:
    query = Message(1, edns=None if edns is None else Edns(edns))
    assert udp_limit(query, 1232) == limit


def test_an_extended_outcome_needs_edns() -> None:
    message = Message(1, response=True, rcode=Rcode.BADVERS, edns=Edns(1232))
    assert read_message(write_message(message)).rcode == Rcode.BADVERS


@given(names)
def test_names_as_text(name: tuple[bytes, ...]) -> None:
    assert parse_name(spell_name(name)) == name


@pytest.mark.parametrize("text", ["a..b", ".a", "a" * 64, ".".join(["a" * 60] * 5), "a\\"])
def test_texts_that_are_no_names(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        parse_name(text)


def test_classes_have_their_numbers() -> None:
    assert (Class.IN, Class.CH) == (1, 3)
