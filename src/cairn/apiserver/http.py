"""HTTP/1.1 as far as an API server needs it: heads, bodies in chunks, answers.

    bytes of a head  ->  Head;  Reply  ->  bytes

Invariants  Whatever the bytes, a head is a Head or Malformed, and nothing else comes out.
            A message with two lengths, or with a length and chunks, is refused (request smuggling).
Standards   RFC 9112 s2-s7
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

HEAD_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_BYTES = 3 << 20
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f]")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_TARGET = re.compile(r"/[\x21-\x7e]*\Z")


class Malformed(Exception):
    """The bytes are not a request that this server reads; the text says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before a request's body."""

    method: str
    """GET, POST, …"""
    target: str
    """Path and query as they came."""
    headers: Mapping[str, str]
    """Headers by lower-case name; repeated ones joined by commas."""
    length: int | None
    """Octets of the body; None: it comes in chunks."""
    keep_alive: bool
    """Whether another request may follow."""

    @property
    def upgrade(self) -> bool:
        """Whether the client wants to speak another protocol."""
        words = self.headers.get("connection", "").lower().replace(" ", "").split(",")
        return "upgrade" in words and "upgrade" in self.headers

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a word before it sends its body."""
        return self.headers.get("expect", "").lower() == "100-continue"


def read_head(data: bytes) -> Head:
    """Return the head whose octets, with the empty line, `data` is; raises Malformed."""
    if len(data) > HEAD_LIMIT_BYTES:
        raise Malformed(f"head of {len(data)} octets, limit {HEAD_LIMIT_BYTES}")
    lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[0] not in _METHODS or not _TARGET.match(words[1]):
        raise Malformed(f"request line {lines[0][:80]!r}: expected METHOD /path HTTP/1.1")
    if words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Malformed(f"version {words[2][:20]!r}: expected HTTP/1.1")
    headers = _headers(lines[1:])
    options = headers.get("connection", "").lower().replace(" ", "").split(",")
    lasting = "keep-alive" in options if words[2] == "HTTP/1.0" else "close" not in options
    return Head(words[0], words[1], headers, _length(headers), lasting)


def read_chunk_size(line: bytes) -> int:
    """Return the size that a chunk's first line gives; raises Malformed."""
    digits = line.strip().partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", digits):
        raise Malformed(f"chunk size {line[:20]!r}: expected hexadecimal digits")
    return int(digits, 16)


def write_head(code: int, headers: Sequence[tuple[str, str]]) -> bytes:
    """Return the head of an answer."""
    lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "".join(f"{' '.join(line.splitlines())}\r\n" for line in lines).encode() + b"\r\n"


def write_chunk(data: bytes) -> bytes:
    """Return one chunk of a body; of no data, its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _headers(lines: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.match(name):
            raise Malformed(f"header {line[:40]!r}: expected name: value")
        if _CONTROL.search(value):
            raise Malformed(f"header {name[:40]!r}: control character in its value")
        name, value = name.lower(), value.strip()
        if name in headers and name in ("content-length", "transfer-encoding", "host"):
            raise Malformed(f"header {name!r} stands twice")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _length(headers: Mapping[str, str]) -> int | None:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise Malformed("transfer-encoding: expected chunked, without a content-length")
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) < 12):
        raise Malformed(f"content-length {length[:20]!r}: expected a number")
    return int(length)
