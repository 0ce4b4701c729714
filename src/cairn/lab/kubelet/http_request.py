"""Just enough HTTP/1.1 for the kubelet's own server.

octets  ->  Request;  status, text  ->  octets
"""

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

from cairn.wire import Malformed

MAX_HEAD_BYTES = 65536
_TRUE = ("1", "true", "True")


@dataclass(frozen=True, slots=True)
class Request:
    """The head of one request."""

    method: str
    """GET, POST, …"""
    path: tuple[str, ...]
    """Parts of the path, decoded."""
    query: dict[str, list[str]]
    """Parameters."""
    headers: dict[str, list[str]]
    """Names in lower case."""

    def flag(self, *names: str) -> bool:
        """Return whether any of the parameters is true."""
        return any(value in _TRUE for name in names for value in self.query.get(name, ()))

    def number(self, name: str) -> int | None:
        """Return a parameter as a number; raises Malformed."""
        value = self.text(name)
        if value is None:
            return None
        if not value.lstrip("-").isdigit():
            raise Malformed(f"parameter {name}={value!r} is not a number", at=0)
        return int(value)

    def text(self, name: str) -> str | None:
        """Return a parameter, None if it is absent or empty."""
        values = self.query.get(name)
        return values[0] if values and values[0] else None

    def words(self, header: str) -> list[str]:
        """Return the comma-separated words of all headers of that name."""
        lines = self.headers.get(header, ())
        return [word.strip() for line in lines for word in line.split(",") if word.strip()]


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request's head; None at the end of the connection; raises Malformed."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise Malformed("head of over 64 KiB", at=error.consumed) from error
    return parse_request(head)


def parse_request(head: bytes) -> Request:
    """Return the request that `head` spells; raises Malformed."""
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise Malformed(f"request line {first[:80]!r}", at=0)
    headers: dict[str, list[str]] = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed(f"header line {line[:80]!r}", at=len(first))
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    try:
        url = urlsplit(parts[1])
        query = parse_qs(url.query, keep_blank_values=True)
    except ValueError as error:
        raise Malformed(f"request target {parts[1][:80]!r}: {error}", at=0) from error
    path = tuple(unquote(part) for part in url.path.split("/") if part)
    return Request(parts[0], path, query, headers)


def response_head(status: int, headers: dict[str, str]) -> bytes:
    """Return the head of a response."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def failure_response(status: int, message: str) -> bytes:
    """Return a refusal as the Status that kubectl shows to its user."""
    reasons = {400: "BadRequest", 403: "Forbidden", 404: "NotFound", 409: "Conflict"}
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reasons.get(status, "InternalError"),
        "code": status,
    }
    return _whole(status, json.dumps(body), "application/json")


def text_response(status: int, text: str) -> bytes:
    """Return a whole plain-text response that ends the connection."""
    return _whole(status, text, "text/plain; charset=utf-8")


def _whole(status: int, text: str, content_type: str) -> bytes:
    body = text.encode()
    headers = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    return response_head(status, headers) + body
