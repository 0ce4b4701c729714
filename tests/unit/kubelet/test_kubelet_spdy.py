"""SPDY frames: two connections back to back, any octets, the standard's dictionary."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.lab.kubelet.spdy import (
    DICTIONARY,
    Connection,
    DataReceived,
    PeerGoesAway,
    Reset,
    StreamOpened,
    StreamReset,
)
from cairn.wire import Malformed

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=5)


def test_dictionary_is_the_standards() -> None:
    # Length and Adler-32 of the dictionary, as every zlib header block of SPDY/3 names it.
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(st.lists(HEADERS, min_size=1, max_size=5), st.binary(max_size=200_000), st.integers(1, 9999))
def test_back_to_back_in_any_pieces(blocks: list[dict[str, str]], data: bytes, piece: int) -> None:
    client, server = Connection(client=True), Connection()
    streams = [client.open(block) for block in blocks]
    client.send(streams[0], data, finish=True)
    client.reset(streams[-1], Reset.CANCEL)
    client.go_away()
    wire = client.output()
    events = [
        event
        for at in range(0, len(wire), piece)
        for event in server.receive(wire[at : at + piece])
    ]
    opened = [event for event in events if isinstance(event, StreamOpened)]
    assert [(event.stream, event.headers) for event in opened] == list(
        zip(streams, blocks, strict=True)
    )
    parts = [event for event in events if isinstance(event, DataReceived)]
    assert b"".join(part.data for part in parts) == data
    assert [part.finished for part in parts] == [False] * (len(parts) - 1) + [True]
    assert events[-2:] == [StreamReset(streams[-1], Reset.CANCEL), PeerGoesAway()]


def test_replies_and_pings_are_answered() -> None:
    client, server = Connection(client=True), Connection()
    stream = client.open({"streamType": "error"})
    client.ping(1)
    assert server.receive(client.output()) == [StreamOpened(stream, {"streamtype": "error"}, False)]
    server.reply(stream, {"ok": "yes"})
    server.send(stream, b"", finish=True)
    assert client.receive(server.output()) == [DataReceived(stream, b"", True)]
    assert client.output() == b"", "the answer to our own ping asks for nothing"


@given(st.binary(max_size=400))
def test_any_octets_are_events_or_malformed(data: bytes) -> None:
    connection = Connection()
    try:
        events = connection.receive(data)
    except Malformed as error:
        assert error.at >= 0  # noqa: PT017
    else:
        assert len(events) <= len(data)


@given(st.integers(1, 9), st.binary(max_size=60))
def test_any_control_frame_is_events_or_malformed(kind: int, body: bytes) -> None:
    frame = bytes([0x80, 3, 0, kind, 0]) + len(body).to_bytes(3, "big") + body
    try:
        events = Connection().receive(frame)
    except Malformed as error:
        assert 0 <= error.at <= len(frame) + 4096  # noqa: PT017
    else:
        assert len(events) <= 1


def test_header_bomb_is_refused() -> None:
    packer = zlib.compressobj(zdict=DICTIONARY)
    block = packer.compress(bytes(1 << 22)) + packer.flush(zlib.Z_SYNC_FLUSH)
    body = (1).to_bytes(4, "big") + bytes(6) + block
    frame = bytes([0x80, 3, 0, 1, 0]) + len(body).to_bytes(3, "big") + body
    with pytest.raises(Malformed, match="header block of over"):
        Connection().receive(frame)


def test_other_version_is_refused() -> None:
    with pytest.raises(Malformed, match="SPDY version 2"):
        Connection().receive(bytes([0x80, 2, 0, 1, 0, 0, 0, 0]))
