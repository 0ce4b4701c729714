"""Requests and what is to become of them, as values.

    Request (method, path, query, headers, body, user)  ->  Outcome: Reply, Write, Watch or Proxy

Not here    Reading them from a connection (http), carrying them out (cairn.api).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import yaml

from cairn.apiserver import protobuf
from cairn.apiserver.kind import Json
from cairn.apiserver.status import Refused, bad_request
from cairn.apiserver.store import Transaction
from cairn.apiserver.watch import Watcher

JSON = "application/json"
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    """As in `system:serviceaccount:kube-system:cairn`."""
    groups: tuple[str, ...] = ()
    """Groups the user is in."""
    uid: str = ""
    """Empty where there is none."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    """GET, POST, …"""
    path: str
    """Decoded path, without the query."""
    query: Mapping[str, str]
    """Decoded parameters; of a repeated one the last."""
    raw_query: str
    """The query as it came, to be handed on."""
    headers: Mapping[str, str]
    """Headers by lower-case name."""
    body: bytes = b""
    """The whole body."""
    user: User | None = None
    """None: nobody we know."""

    def header(self, name: str) -> str:
        """Return a header's value; "" if it is absent."""
        return self.headers.get(name, "")

    @property
    def content_type(self) -> str:
        """The body's media type, without parameters."""
        return self.header("content-type").partition(";")[0].strip().lower() or JSON

    def decode(self) -> Any:
        """Return the body's value; raises Refused (400, 415)."""
        if not self.body.strip():
            return None
        if self.content_type == protobuf.MEDIA_TYPE:
            try:
                return protobuf.read_object(self.body)
            except protobuf.Malformed as error:
                raise _unsupported(self.content_type, str(error)) from error
        if "cbor" in self.content_type:
            raise _unsupported(self.content_type, "expected JSON, YAML or protobuf")
        try:
            return msgspec.json.decode(self.body)
        except RecursionError as error:
            raise bad_request("the body is nested too deeply") from error
        except msgspec.DecodeError as error:
            if "yaml" not in self.content_type:
                raise bad_request(f"the body is not JSON: {error}") from error
        try:
            return yaml.load(self.body, _YAML_LOADER)  # noqa: S506 (a safe loader)
        except (yaml.YAMLError, RecursionError) as error:
            raise bad_request(f"the body is not YAML: {' '.join(str(error).split())}") from error


def request_of(
    method: str, target: str, headers: Mapping[str, str], body: bytes, user: User | None
) -> Request:
    """Return the request with its target taken apart."""
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, unquote(parts.path), query, parts.query, headers, body, user)


def _unsupported(content_type: str, why: str) -> Refused:
    text = f"the body of the request was in an unsupported format ({content_type}): {why}"
    return Refused(415, "UnsupportedMediaType", text)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is complete."""

    code: int
    """HTTP status."""
    body: Sequence[bytes]
    """Pieces of the body, in order."""
    content_type: str = JSON
    """Media type of the body."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers."""


@dataclass(frozen=True, slots=True)
class Write:
    """Something to be done in a transaction, and how to answer when it is durable."""

    operate: Callable[[Transaction], Any]
    """Does it; raises Refused."""
    reply: Callable[[Any], Reply]
    """Makes the answer of what `operate` returned."""
    dry_run: bool = False
    """Whether it is only to be tried."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A stream of changes."""

    open: Callable[[Callable[[bytes], None]], Watcher]
    """Tells the sink what there is, and subscribes it; raises Refused (410)."""
    close: Callable[[Watcher], None]
    """Ends it."""
    bookmark: Callable[[], bytes] | None
    """The line that says how far the stream is; None if the client wants none."""
    timeout_s: float | None
    """When the client wants it to end."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A request to be handed to a node's kubelet, byte by byte."""

    node: str
    """Name of the node."""
    address: str
    """Its address."""
    port: int
    """Its kubelet's port."""
    target: str
    """Path and query for the kubelet."""
    warnings: tuple[str, ...] = field(default=())
    """What the client should be told."""


Outcome = Reply | Write | Watch | Proxy


def json_reply(
    code: int, value: Json, *, warnings: Sequence[str] = (), content_type: str = JSON
) -> Reply:
    """Return an answer with a JSON object."""
    return Reply(code, [msgspec.json.encode(value)], content_type, warning_headers(warnings))


def refusal_reply(refused: Refused) -> Reply:
    """Return the answer that says why not."""
    headers = (("WWW-Authenticate", 'Bearer realm="cairn"'),) if refused.code == 401 else ()
    retry = (("Retry-After", "1"),) if refused.code in (429, 503) else ()
    return Reply(refused.code, [msgspec.json.encode(refused.status())], headers=(*headers, *retry))


def warning_headers(warnings: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return `Warning` headers (RFC 7234 s5.5); each text once."""
    texts = dict.fromkeys(" ".join(text.split()) for text in warnings)
    return tuple(("Warning", f"299 - {_quoted(text)}") for text in texts)


def _quoted(text: str) -> str:
    safe = "".join(c if c.isprintable() else "?" for c in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'
