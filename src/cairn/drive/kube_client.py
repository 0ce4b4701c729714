"""The one client of the Kubernetes API.

    Resource, Key, JSON  ->  requests  ->  JSON, watch events, ApiError

Invariants  Objects are plain decoded JSON: unknown fields pass through unharmed.
            Whatever the other side answers, only ApiError is raised.
Standards   Kubernetes API concepts: list, watch, patch; meta/v1 Status
Not here    Keeping a copy that follows the server (informer.py).
"""

import contextlib
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from cairn.drive.kubeconfig import Access, find_access
from cairn.kube.metadata import Key
from cairn.kube.resource import Resource

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
KEEPALIVE = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 25_000,
}
"""Seconds before and between probes, how many; milliseconds until unsent data counts as lost."""
PAGE_OBJECTS = 200
"""Objects that one answer to a list holds at most, so that a large list needs little memory."""
MAX_LINE_BYTES = 16 * 1024 * 1024
"""Longest watch event that is taken: etcd's limit for an object is 1.5 MiB."""


class ApiError(Exception):
    """What the API server answered instead of the object."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class Unreachable(ApiError):
    """The API server did not answer at all."""

    def __init__(self, url: str, error: BaseException) -> None:
        super().__init__(0, "Unreachable", f"API server {url} does not answer: {_plain(error)}")


def _plain(error: BaseException) -> str:
    """Return what happened in words for the user: the library's texts are for programmers."""
    match error:
        case aiohttp.ClientConnectorError():
            code = error.os_error.errno
            return os.strerror(code) if code and code > 0 else str(error.os_error)
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case TimeoutError():
            return "no word from it in time"
    return str(error) or type(error).__name__


class Garbled(ApiError):
    """What answered does not speak the Kubernetes API."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(502, "Garbled", f"API server {url} answered {what}")


class Client:
    """A connection pool to one API server; an async context manager."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._http: aiohttp.ClientSession | None = None
        self.clock: tuple[float, float] | None = None
        """What the server's clock said in its last answer, to the second, and what ours said."""

    @classmethod
    def connect(cls, kubeconfig: str | None = None) -> "Client":
        """Return a client for `kubeconfig`, else $KUBECONFIG, else the pod's own account."""
        return cls(find_access(kubeconfig))

    @property
    def authority_ends(self) -> float | None:
        """When the first of the authorities that vouch for the server ends; None without TLS."""
        trusted = self._access.tls.get_ca_certs() if self._access.tls else []
        ends = [ssl.cert_time_to_seconds(str(one["notAfter"])) for one in trusted]
        return min(ends, default=None)

    @property
    def url(self) -> str:
        """The server's URL."""
        return self._access.url

    async def __aenter__(self) -> "Client":
        self._session()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        if self._http:
            await self._http.close()
            self._http = None

    async def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """Yield all objects in pieces, each with the list's resourceVersion: one that is the same.

        Raises ApiError; status 410 means that the pieces no longer fit together: list again.
        """
        query = _selectors(label_selector, field_selector) | {"limit": str(PAGE_OBJECTS)}
        while True:
            body = await self.request("GET", resource.path(namespace), query=query)
            try:
                items: list[dict[str, Any]] = body.get("items") or []
                for item in items:
                    item.setdefault("apiVersion", resource.api_version)
                    item.setdefault("kind", resource.kind)
                version: str = body["metadata"]["resourceVersion"]
                token = body["metadata"].get("continue")
            except (KeyError, TypeError, AttributeError) as error:
                raise Garbled(self.url, f"with no list of {resource.plural}") from error
            yield items, version
            if not token:
                return
            query["continue"] = token

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> tuple[list[dict[str, Any]], str]:
        """Return all objects, with kind and apiVersion, and the list's resourceVersion."""
        items: list[dict[str, Any]] = []
        version = ""
        async for page, now in self.pages(
            resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        ):
            items += page
            version = now
        return items, version

    async def get(self, resource: Resource, key: Key) -> dict[str, Any]:
        """Return one object; raises ApiError with status 404 if there is none."""
        return await self.request("GET", _path(resource, key))

    async def create(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create `obj` and return it as stored."""
        namespace = obj["metadata"].get("namespace")
        return await self.request("POST", resource.path(namespace), body=obj)

    async def replace(
        self, resource: Resource, obj: Mapping[str, Any], *, subresource: str = ""
    ) -> dict[str, Any]:
        """Replace an object; its resourceVersion, if set, must be the server's."""
        metadata = obj["metadata"]
        key = Key(metadata.get("namespace") or "", metadata["name"])
        return await self.request("PUT", _path(resource, key, subresource), body=obj)

    async def patch(
        self,
        resource: Resource,
        key: Key,
        patch: Any,
        *,
        subresource: str = "",
        content_type: str = MERGE_PATCH,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Patch an object and return it as stored."""
        return await self.request(
            "PATCH",
            _path(resource, key, subresource),
            body=patch,
            query=query,
            content_type=content_type,
        )

    async def apply(
        self, resource: Resource, obj: Mapping[str, Any], *, manager: str, force: bool = True
    ) -> dict[str, Any]:
        """Apply `obj` on the server's side as `manager`; creates it if it is absent."""
        metadata = obj["metadata"]
        key = Key(metadata.get("namespace") or "", metadata["name"])
        query = {"fieldManager": manager, "force": str(force).lower()}
        return await self.patch(resource, key, obj, content_type=APPLY_PATCH, query=query)

    async def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        grace_period_s: int | None = None,
        uid: str | None = None,
    ) -> None:
        """Ask for an object's deletion; with `uid`, only if it is still that very object."""
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        await self.request("DELETE", _path(resource, key), body=options)

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: int = 300,
        on_open: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield (type, object) after `resource_version` until the server ends the watch.

        `on_open` is called once the server has granted it.

        Raises ApiError; status 410 means that the version is too old: list again.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
        }
        url = self._access.url + resource.path(namespace)
        limits = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=timeout_s + 30)
        try:
            async with self._session().get(
                url, params=query, headers=self._access.headers(), timeout=limits
            ) as response:
                if response.status >= 400:
                    raise _error(response.status, await response.read())
                on_open()
                async for line in _lines(response):
                    yield self._event(line)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(self.url, error) from error

    @contextlib.asynccontextmanager
    async def websocket(
        self, path: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket to the server; errors come as the library raises them."""
        async with self._session().ws_connect(
            self._access.url + path,
            params=query,
            protocols=protocols,
            headers=self._access.headers(),
            max_msg_size=MAX_LINE_BYTES,
        ) as socket:
            yield socket

    def _event(self, line: bytes) -> tuple[str, dict[str, Any]]:
        try:
            event = msgspec.json.decode(line)
            kind, obj = event["type"], event["object"]
            if kind == "ERROR":
                raise ApiError(obj["code"], obj.get("reason") or "", obj.get("message") or "")
            obj["metadata"]["resourceVersion"]
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            raise Garbled(self.url, f"a watch with {line[:80]!r}") from error
        return str(kind), obj

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the decoded answer; raises ApiError."""
        data = None if body is None else msgspec.json.encode(body)
        try:
            headers = self._access.headers() | {"Accept": "application/json"}
            if data is not None:
                headers["Content-Type"] = content_type
            async with self._session().request(
                method, self._access.url + path, params=query, data=data, headers=headers
            ) as response:
                self._note_clock(response.headers.get("Date"))
                answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(self.url, error) from error
        if response.status >= 400:
            raise _error(response.status, answer)
        try:
            decoded = msgspec.json.decode(answer) if answer else {}
        except msgspec.DecodeError:
            decoded = None
        if not isinstance(decoded, dict):
            raise Garbled(self.url, f"{method} {path} with {answer[:80]!r}")
        return decoded

    def _note_clock(self, date: str | None) -> None:
        if date:
            with contextlib.suppress(ValueError):
                self.clock = parsedate_to_datetime(date).timestamp(), time.time()

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            connector = aiohttp.TCPConnector(
                ssl=self._access.tls or False, limit=100, socket_factory=_socket
            )
            limits = aiohttp.ClientTimeout(total=30, sock_connect=5)
            self._http = aiohttp.ClientSession(connector=connector, timeout=limits)
        return self._http


def _socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """Return a socket that notices within half a minute that the server is gone.

    A watch only listens: without probes a partition would go unseen until its timeout.
    """
    family, kind, protocol, _, _ = info
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


def _path(resource: Resource, key: Key, subresource: str = "") -> str:
    return resource.path(key.namespace or None, quote(key.name, safe=""), subresource)


def _selectors(labels: str, fields: str) -> dict[str, str]:
    pairs = {"labelSelector": labels, "fieldSelector": fields}
    return {name: text for name, text in pairs.items() if text}


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    # readline() of the library gives up on lines over its buffer's size; objects may be larger.
    pending = bytearray()
    async for chunk in response.content.iter_any():
        pending += chunk
        if len(pending) > MAX_LINE_BYTES:
            raise ApiError(500, "TooLarge", f"a watch event exceeds {MAX_LINE_BYTES} bytes")
        *lines, rest = pending.split(b"\n")
        for line in lines:
            if line.strip():
                yield bytes(line)
        pending = bytearray(rest)


def _error(status: int, body: bytes) -> ApiError:
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        decoded = None
    if isinstance(decoded, dict) and decoded.get("kind") == "Status":
        return ApiError(status, decoded.get("reason") or "", decoded.get("message") or "")
    text = body.decode(errors="replace").strip()[:200]
    return ApiError(status, "", text or f"HTTP status {status}")
