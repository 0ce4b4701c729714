"""HTTP heads: what is read, what is refused, and that nothing else comes out."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.apiserver.http import Malformed, read_chunk_size, read_head, write_chunk, write_head


def test_a_head_is_read() -> None:
    head = read_head(
        b"POST /api/v1/pods?limit=5 HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n"
        b"Accept: a\r\naccept: b\r\n\r\n"
    )
    assert (head.method, head.target, head.length) == ("POST", "/api/v1/pods?limit=5", 12)
    assert head.headers["accept"] == "a,b"
    assert head.keep_alive
    assert not head.upgrade


def test_an_upgrade_and_chunks_are_seen() -> None:
    head = read_head(
        b"GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    assert head.upgrade
    assert head.length is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_broken_heads_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_head(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_malformed(data: bytes) -> None:
    for text in (data, b"GET / HTTP/1.1\r\n" + data, b"PUT /" + data + b" HTTP/1.1\r\n\r\n"):
        with contextlib.suppress(Malformed):
            assert read_head(text).target.startswith("/")
    with contextlib.suppress(Malformed):
        assert read_chunk_size(data) >= 0


def test_chunks_round_trip() -> None:
    chunk = write_chunk(b"x" * 300)
    line, _, rest = chunk.partition(b"\r\n")
    assert read_chunk_size(line) == 300
    assert rest == b"x" * 300 + b"\r\n"
    assert write_chunk(b"") == b"0\r\n\r\n"


def test_a_header_cannot_break_out() -> None:
    written = write_head(200, [("Warning", "a\r\nSet-Cookie: b")])
    assert written.count(b"\r\n") == 3
