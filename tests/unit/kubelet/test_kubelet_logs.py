"""Container logs: written as CRI says, read as `kubectl logs` asks."""

import asyncio
from pathlib import Path

import pytest

from cairn.lab.kubelet.http_request import parse_request
from cairn.lab.kubelet.log_reader import Entry, LogQuery, follow_log, parse_entry, render, select
from cairn.lab.kubelet.shim import LogFile
from cairn.wire import Malformed


def entry(text: str, time: str = "2026-01-01T00:00:00.1Z", *, whole: bool = True) -> Entry:
    return Entry(time, whole, text.encode())


LINES = [entry("a"), entry("b1 ", whole=False), entry("b2"), entry("c", "2026-01-01T00:00:09.9Z")]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (LogQuery(), "a\nb1 b2\nc\n"),
        (LogQuery(tail=2), "b1 b2\nc\n"),
        (LogQuery(tail=0), ""),
        (LogQuery(tail=-1), "a\nb1 b2\nc\n"),
        (LogQuery(since="2026-01-01T00:00:05"), "c\n"),
        (LogQuery(timestamps=True, tail=2),
         "2026-01-01T00:00:00.1Z b1 b2\n2026-01-01T00:00:09.9Z c\n"),
    ],
)  # fmt: skip
def test_select_and_render(query: LogQuery, text: str) -> None:
    assert render(select(LINES, query), query).decode() == text


@pytest.mark.parametrize("line", [b"", b"x", b"time stdout Q text", b"time stdout F"])
def test_foreign_lines_are_no_entries(line: bytes) -> None:
    assert parse_entry(line) is None


async def read_all(path: Path, query: LogQuery, *, ended: bool = True) -> bytes:
    return b"".join([text async for text in follow_log(path, query, lambda: ended)])


async def test_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "c" / "0.log"
    log = LogFile(str(path), prompt=False)
    log.take("stdout", b"one\ntw")
    log.take("stderr", b"oops\n")
    log.take("stdout", b"o\n" + b"x" * 20000)
    log.take("stdout", b"y\nlast")
    log.finish()
    expected = b"one\noops\ntwo\n" + b"x" * 20000 + b"y\nlast\n"
    assert await read_all(path, LogQuery()) == expected
    assert await read_all(path, LogQuery(limit_bytes=5)) == b"one\no"
    assert await read_all(tmp_path / "none.log", LogQuery(follow=True)) == b""


async def test_follow_sees_what_comes_and_stops_at_the_end(tmp_path: Path) -> None:
    path, over = tmp_path / "0.log", asyncio.Event()
    log = LogFile(str(path), prompt=False)
    log.take("stdout", b"first\n")
    texts: list[bytes] = []

    async def follow() -> None:
        async for text in follow_log(path, LogQuery(follow=True), over.is_set):
            texts.append(text)  # noqa: PERF401  (one by one, to see that they come at once)

    task = asyncio.create_task(follow())
    async with asyncio.timeout(10):
        while not texts:
            await asyncio.sleep(0.01)
        log.take("stdout", b"second\n")
        over.set()
        await task
    assert b"".join(texts) == b"first\nsecond\n"


def test_request_head() -> None:
    request = parse_request(
        b"POST /exec/ns/p/c?command=ls&command=-l&input=1&tty=true HTTP/1.1\r\nHost: x\r\n"
        b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\nx-stream-protocol-version: v3, v2\r\n\r\n"
    )
    assert request.path == ("exec", "ns", "p", "c")
    assert request.query["command"] == ["ls", "-l"]
    assert request.flag("tty")
    assert request.flag("stdin", "input")
    assert request.words("x-stream-protocol-version") == ["v4.channel.k8s.io", "v3", "v2"]


@pytest.mark.parametrize("head", [b"\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nbad\r\n\r\n"])
def test_malformed_heads(head: bytes) -> None:
    with pytest.raises(Malformed):
        parse_request(head)


def test_number_parameters() -> None:
    request = parse_request(b"GET /?tailLines=x&sinceSeconds=5 HTTP/1.1\r\n\r\n")
    assert request.number("sinceSeconds") == 5
    assert request.number("limitBytes") is None
    with pytest.raises(Malformed, match="tailLines='x' is not a number"):
        request.number("tailLines")
