"""The OpenAPI documents, encoded once for every change of what is served.

    Registry, Request  ->  Reply with OpenAPI v2 or v3, as JSON or as protobuf

Not here    What they say (openapi), their protobuf form (openapi_proto).
"""

import hashlib
from collections.abc import Callable

import msgspec

from cairn.apiserver.kind import Json
from cairn.apiserver.openapi import openapi_v2, openapi_v3, openapi_v3_index
from cairn.apiserver.openapi_proto import PROTO_V2, write_document
from cairn.apiserver.registry import Registry
from cairn.apiserver.request import JSON, Reply, Request
from cairn.apiserver.status import no_such_path


class Documents:
    """The documents of one server."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._made: dict[str, bytes] = {}

    def find(self, request: Request) -> Reply:
        """Return the document a path names; raises Refused (404)."""
        kinds = self._registry.all()
        match request.path.strip("/").split("/"):
            case ["openapi", "v2"]:
                # kubectl before 1.24 asks for protobuf alone, and reads nothing else.
                if "proto-openapi" in request.header("accept"):
                    return self._made_once(
                        request, PROTO_V2, lambda: write_document(openapi_v2(kinds))
                    )
                return self._made_once(request, JSON, lambda: _encode(openapi_v2(kinds)))
            case ["openapi", "v3"]:
                return self._made_once(request, JSON, lambda: _encode(openapi_v3_index(kinds)))
            case ["openapi", "v3", "api", version] if version in self._registry.versions(""):
                return self._made_once(
                    request, JSON, lambda: _encode(openapi_v3(kinds, "", version))
                )
            case ["openapi", "v3", "apis", group, version] if version in self._registry.versions(
                group
            ):
                return self._made_once(
                    request, JSON, lambda: _encode(openapi_v3(kinds, group, version))
                )
        raise no_such_path()

    def _made_once(self, request: Request, content_type: str, make: Callable[[], bytes]) -> Reply:
        if self._generation != self._registry.generation:
            self._made.clear()
            self._generation = self._registry.generation
        name = f"{content_type} {request.path}"
        body = self._made.get(name)
        if body is None:
            body = self._made[name] = make()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if request.header("if-none-match") == tag:
            return Reply(304, [], content_type, (("ETag", tag),))
        return Reply(200, [body], content_type, (("ETag", tag),))


def _encode(document: Json) -> bytes:
    return msgspec.json.encode(document)
