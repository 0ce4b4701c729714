"""Datagrams made by hand: their checksums, and what they say."""

import pytest

from cairn.dns import Message, Question, Record, Type, parse_name
from cairn.dns.message import read_message, write_message
from cairn.dnsproxy.senders import checksum, cut, packet
from cairn.net import parse_address


def slow_sum(octets: bytes) -> int:
    """The sum of 16-bit words with the carries put back, as RFC 1071 s1 has it."""
    total = 0
    for at in range(0, len(octets), 2):
        total += int.from_bytes(octets[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("octets", [b"", b"\1", b"\0\1\xf2\3\xf4\xf5\xf6\xf7", bytes(range(255))])
def test_checksum_makes_the_whole_ones(octets: bytes) -> None:
    even = octets + b"\0" * (len(octets) % 2)
    assert slow_sum(even + checksum(octets).to_bytes(2, "big")) == 0xFFFF


def test_packets_of_both_families() -> None:
    four = packet(b"hello", ("192.0.2.1", 53), ("10.0.0.5", 4000))
    assert four[:1] == b"\x45"
    assert (four[9], four[12:20]) == (17, bytes((192, 0, 2, 1, 10, 0, 0, 5)))
    assert four[20:26] == b"\0\x35\x0f\xa0\0\x0d"
    pseudo = four[12:20] + b"\0\x11\0\x0d"
    assert slow_sum(pseudo + four[20:]) == 0xFFFF
    six = packet(b"hello!", ("2001:db8::1", 53), ("fd00::5", 4000))
    assert (six[0] >> 4, six[4:8]) == (6, b"\0\x0e\x11\x40")
    assert slow_sum(six[8:40] + b"\0\0\0\x0e\0\0\0\x11" + six[40:]) == 0xFFFF


def test_an_answer_is_cut_to_its_question() -> None:
    name, address = parse_name("www.example.com"), parse_address("198.51.100.1")
    whole = Message(
        9, response=True, questions=(Question(name, Type.A),),
        answers=(Record(name, Type.A, 1, 30, address),) * 200,
    )  # fmt: skip
    short = read_message(cut(write_message(whole)))
    assert (short.id, short.truncated, short.questions) == (9, True, whole.questions)
    assert short.answers == ()
