"""WebSocket frames on the server's side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.lab.kubelet.websocket import Connection, Opcode, accept_key
from cairn.wire import Malformed


def frame(
    opcode: int, payload: bytes, *, final: bool = True, mask: bytes = b"\x01\x02\x03\x04"
) -> bytes:
    """Return a client's frame."""
    if len(payload) < 126:
        size = bytes([0x80 | len(payload)])
    elif len(payload) < 1 << 16:
        size = bytes([0x80 | 126]) + len(payload).to_bytes(2, "big")
    else:
        size = bytes([0x80 | 127]) + len(payload).to_bytes(8, "big")
    masked = bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))
    return bytes([(0x80 if final else 0) | opcode]) + size + mask + masked


def test_key_of_the_rfc() -> None:
    # RFC 6455 s1.3
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_masked_hello_of_the_rfc() -> None:
    # RFC 6455 s5.7
    wire = bytes.fromhex("8185 37fa213d 7f9f4d5158")
    assert Connection().receive(wire) == [b"Hello"]


@given(st.lists(st.binary(max_size=70000), max_size=3), st.integers(1, 5000))
def test_messages_in_any_pieces(messages: list[bytes], piece: int) -> None:
    wire = b"".join(frame(Opcode.BINARY, message) for message in messages)
    server = Connection()
    got = [m for at in range(0, len(wire), piece) for m in server.receive(wire[at : at + piece])]
    assert got == messages


def test_fragments_are_joined_and_pings_answered_between() -> None:
    wire = (
        frame(Opcode.TEXT, b"one ", final=False)
        + frame(Opcode.PING, b"are you there")
        + frame(Opcode.CONTINUATION, b"two")
    )
    server = Connection()
    assert server.receive(wire) == [b"one two"]
    assert server.output() == b"\x8a\x0dare you there"


def test_close_is_answered_once() -> None:
    server = Connection()
    assert server.receive(frame(Opcode.CLOSE, b"\x03\xe8") + frame(Opcode.BINARY, b"late")) == []
    assert server.closed
    assert server.output() == b"\x88\x02\x03\xe8"
    server.close()
    assert server.output() == b""


@pytest.mark.parametrize(
    ("wire", "found"),
    [
        (b"\x82\x01x", "not masked"),
        (frame(Opcode.CONTINUATION, b"x"), "continuation of no message"),
        (frame(5, b""), "opcode 5"),
        (frame(1, b"a", final=False) + frame(1, b"b"), "before the end of the last"),
        (b"\x82\xff\x00\x00\x00\xff\xff\xff\xff\xff", "frame of"),
    ],
)
def test_malformed(wire: bytes, found: str) -> None:
    with pytest.raises(Malformed, match=found):
        Connection().receive(wire + bytes(8))


@given(st.binary(max_size=300))
def test_any_octets_are_messages_or_malformed(data: bytes) -> None:
    try:
        messages = Connection().receive(data)
    except Malformed as error:
        assert error.at >= 0  # noqa: PT017
    else:
        assert sum(map(len, messages)) <= len(data)
