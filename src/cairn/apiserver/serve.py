"""The API server's core: every request, answered from the store or turned into a write.

    Request  ->  Reply | Write | Watch | Proxy   (or Refused)
    Change   ->  store, allocations, kinds, watchers

Invariants  No I/O: whoever carries out a Write makes it durable, then calls `committed`.
            A change reaches readers and watchers only after that.
Not here    Connections and durability (cairn.api).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cairn.apiserver.allocation import Allocations
from cairn.apiserver.delete import delete, read_options
from cairn.apiserver.discovery import VERSION, discover
from cairn.apiserver.documents import Documents
from cairn.apiserver.entry import Entry
from cairn.apiserver.environment import Environment
from cairn.apiserver.kind import Kind
from cairn.apiserver.kubelet import STREAMS, proxy_of
from cairn.apiserver.read import Reader, view_of
from cairn.apiserver.registry import CRDS, Registry, kinds_of, resource_of
from cairn.apiserver.request import (
    Outcome,
    Reply,
    Request,
    Watch,
    Write,
    json_reply,
    warning_headers,
)
from cairn.apiserver.review import REVIEWS, answer
from cairn.apiserver.route import Route, route_of
from cairn.apiserver.selection import Selection, parse_selection
from cairn.apiserver.status import (
    bad_request,
    method_not_allowed,
    not_found,
    success,
    unauthorized,
)
from cairn.apiserver.store import Change, Store, Transaction
from cairn.apiserver.subresource import bind, finalize, scale_of, set_scale
from cairn.apiserver.watch import Broadcast, Watcher, bookmark, plain_line
from cairn.apiserver.write import Target, Writer, Written
from cairn.kube.metadata import Key

HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
_TRUE = ("true", "1")


class Server:
    """One API server."""

    def __init__(
        self, store: Store, environment: Environment, allocations: Allocations, registry: Registry
    ) -> None:
        self.store = store
        self.environment = environment
        self.registry = registry
        self.broadcast = Broadcast(store.revision)
        self._allocations = allocations
        self._writer = Writer(environment, allocations)
        self._reader = Reader(store, environment)
        self._documents = Documents(registry)
        for service in store.all("services"):
            allocations.hold(service.decode(), service.key)
        self._define()

    def handle(self, request: Request) -> Outcome:
        """Return what is to become of a request; raises Refused."""
        if request.path in HEALTH:
            return Reply(200, [b"ok"], "text/plain")
        if request.user is None:
            raise unauthorized()
        if request.path.rstrip("/") == "/version":
            return json_reply(200, VERSION)
        if request.path.startswith("/openapi/"):
            return self._documents.find(request)
        parts = request.path.strip("/").split("/")
        if (parts[0] == "api" and len(parts) <= 2) or (parts[0] == "apis" and len(parts) <= 3):
            return discover(self.registry, request)
        return self._resource(request, route_of(self.registry, request.path))

    def committed(self, changes: Sequence[Change]) -> None:
        """Take over changes that are durable, and tell the watchers."""
        self.store.commit(changes)
        self._allocations.observe(changes)
        if any(change.resource == CRDS for change in changes):
            self._define()
        self.broadcast.publish(changes)

    def abandoned(self) -> None:
        """Forget what a failed transaction had reserved."""
        self._allocations.observe(())

    def _define(self) -> None:
        crds = sorted(self.store.all(CRDS), key=lambda entry: entry.key)
        self.registry.define(entry.decode() for entry in crds)

    def _resource(self, request: Request, route: Route) -> Outcome:
        sub = route.subresource
        if sub in STREAMS and request.method in ("GET", "POST"):
            return proxy_of(self.store, route, request)
        match request.method:
            case "GET" | "HEAD":
                return self._read(request, route)
            case "POST" if route.kind in REVIEWS and request.user is not None:
                body = None if "protobuf" in request.content_type else request.decode()
                return json_reply(201, answer(route.kind, request.user, body))
            case "POST" if not route.name:
                return self._write(request, route, "create", self._writer.create)
            case "POST" if sub == "binding":
                return self._act(request, route, bind)
            case "POST" if sub == "eviction":
                return self._evict(request, route)
            case "PUT" if sub == "finalize":
                return self._act(request, route, finalize, code=200)
            case "PUT" | "PATCH" if sub == "scale":
                return self._set_scale(request, route)
            case "PUT" if route.name and sub in ("", "status"):
                return self._write(request, route, "update", self._writer.update)
            case "PATCH" if route.name and sub in ("", "status"):
                return self._patch(request, route)
            case "DELETE" if not sub:
                return self._delete(request, route)
        raise method_not_allowed(request.method)

    # Reading

    def _read(self, request: Request, route: Route) -> Outcome:
        kind, query = route.kind, request.query
        resource = resource_of(kind)
        watching = route.watch or query.get("watch") in _TRUE
        if route.name and not watching:
            entry = self.store.get(resource, Key(route.namespace, route.name))
            if "get" not in kind.verbs or route.subresource not in ("", "status", "scale"):
                raise method_not_allowed(request.method)
            if entry is None:
                raise not_found(kind, route.name)
            if route.subresource == "scale":
                return json_reply(200, scale_of(kind, entry.decode()))
            return self._reader.object(kind, entry, request)
        if ("watch" if watching else "list") not in kind.verbs:
            raise method_not_allowed(request.method)
        selection = self._selection(request, route)
        if watching:
            return self._watch(request, route, selection)
        return self._reader.listing(kind, selection, request)

    def _selection(self, request: Request, route: Route) -> Selection:
        fields = request.query.get("fieldSelector") or ""
        if route.name:
            fields = f"metadata.name={route.name}" + (f",{fields}" if fields else "")
        labels = request.query.get("labelSelector") or ""
        return parse_selection(resource_of(route.kind), route.namespace, labels, fields)

    def _watch(self, request: Request, route: Route, selection: Selection) -> Watch:
        kind, query = route.kind, request.query
        view = view_of(request)
        since = _number(query.get("resourceVersion"), "resourceVersion")
        timeout_s = _number(query.get("timeoutSeconds"), "timeoutSeconds")
        initial = query.get("sendInitialEvents")
        line = self._reader.line(kind, view) if view.table else plain_line(kind.api_version)

        def mark(*, initial_end: bool = False) -> bytes:
            revision = self.store.revision
            return bookmark(kind.kind, kind.api_version, revision, initial_end=initial_end)

        def open_watch(sink: Callable[[bytes], None]) -> Watcher:
            shared = "" if view.table else kind.api_version
            watcher = Watcher(resource_of(kind), selection, sink, line, shared)
            start = since
            if initial in _TRUE or (start == 0 and initial is None):
                start = self.store.revision
                self.broadcast.tell(watcher, self.store.select(watcher.resource, selection))
                if initial in _TRUE:
                    sink(mark(initial_end=True))
            self.broadcast.subscribe(watcher, start)
            return watcher

        bookmarks = mark if query.get("allowWatchBookmarks") in _TRUE else None
        return Watch(open_watch, self.broadcast.unsubscribe, bookmarks, timeout_s or None)

    # Writing

    def _target(self, request: Request, route: Route) -> Target:
        query = request.query
        validation = query.get("fieldValidation") or "Warn"
        if validation not in ("Strict", "Warn", "Ignore"):
            raise bad_request(f"fieldValidation {validation!r}: expected Strict, Warn or Ignore")
        agent = request.header("user-agent").partition("/")[0]
        return Target(
            route.kind,
            Key(route.namespace, route.name),
            route.subresource,
            validation,
            query.get("fieldManager") or agent or "unknown",
            force=query.get("force") in _TRUE,
        )

    def _write(
        self,
        request: Request,
        route: Route,
        verb: str,
        operate: Callable[[Transaction, Target, Any], Written],
    ) -> Write:
        if verb not in route.kind.verbs:
            raise method_not_allowed(request.method)
        if verb == "create" and route.kind.namespaced and not route.namespace:
            raise method_not_allowed(request.method)
        target, body = self._target(request, route), request.decode()
        return self._answered(request, route, lambda txn: operate(txn, target, body))

    def _patch(self, request: Request, route: Route) -> Write:
        def operate(txn: Transaction, target: Target, body: Any) -> Written:
            return self._writer.patch(txn, target, body, request.content_type)

        return self._write(request, route, "patch", operate)

    def _answered(
        self, request: Request, route: Route, operate: Callable[[Transaction], Written]
    ) -> Write:
        def reply(written: Written) -> Reply:
            code = 201 if written.created else 200
            made = self._reader.object(route.kind, written.entry, request, code)
            warnings = warning_headers(written.warnings)
            return Reply(made.code, made.body, made.content_type, warnings)

        return Write(operate, reply, _dry_run(request))

    def _act(
        self,
        request: Request,
        route: Route,
        action: Callable[[Transaction, Writer, Target, Any], Written],
        *,
        code: int = 201,
    ) -> Write:
        target, body = self._target(request, route), request.decode()

        def reply(written: Written) -> Reply:
            if route.subresource == "finalize":
                return self._reader.object(route.kind, written.entry, request, code)
            return json_reply(code, success(route.kind, route.name, written.entry.uid))

        return Write(lambda txn: action(txn, self._writer, target, body), reply, _dry_run(request))

    def _set_scale(self, request: Request, route: Route) -> Write:
        target, body = self._target(request, route), request.decode()
        content_type = request.content_type if request.method == "PATCH" else None

        def reply(written: Written) -> Reply:
            return json_reply(200, scale_of(route.kind, written.entry.decode()))

        return Write(
            lambda txn: set_scale(txn, self._writer, target, body, content_type),
            reply,
            _dry_run(request),
        )

    def _evict(self, request: Request, route: Route) -> Write:
        body = request.decode()
        options = read_options((body or {}).get("deleteOptions"), request.query)
        target = self._target(request, route)

        def reply(written: Written) -> Reply:
            return json_reply(201, success(route.kind, route.name, written.entry.uid))

        return Write(
            lambda txn: delete(txn, self.environment, target, options), reply, _dry_run(request)
        )

    def _delete(self, request: Request, route: Route) -> Write:
        body = request.decode()
        options = read_options(body, request.query)
        dry_run = _dry_run(request) or (isinstance(body, dict) and bool(body.get("dryRun")))
        verb = "delete" if route.name else "deletecollection"
        if verb not in route.kind.verbs:
            raise method_not_allowed(request.method)
        target = self._target(request, route)
        if route.name:
            return Write(
                lambda txn: self._delete_one(txn, target, options),
                lambda written: self._deleted(request, route, written),
                dry_run,
            )
        selection = self._selection(request, route)

        def delete_all(txn: Transaction) -> list[Entry]:
            found = txn.select(target.resource, selection)
            for entry in found:
                self._delete_one(txn, Target(route.kind, entry.key), options)
            return found

        def reply(entries: list[Entry]) -> Reply:
            items = [entry.decode() for entry in entries]
            head = {"kind": f"{route.kind.kind}List", "apiVersion": route.kind.api_version}
            return json_reply(200, head | {"metadata": {}, "items": items})

        return Write(delete_all, reply, dry_run)

    def _delete_one(self, txn: Transaction, target: Target, options: Any) -> Written:
        written = delete(txn, self.environment, target, options)
        if target.resource == CRDS and written.removed:
            for kind in kinds_of(written.entry.decode())[:1]:
                for entry in list(txn.all(resource_of(kind))):
                    txn.remove(resource_of(kind), entry.decode())
        return written

    def _deleted(self, request: Request, route: Route, written: Written) -> Reply:
        if written.removed and route.kind.plural != "pods":
            return json_reply(200, success(route.kind, route.name, written.entry.uid))
        return self._reader.object(route.kind, written.entry, request)


def registry_of(kinds: Iterable[Kind]) -> Registry:
    """Return the registry of an API server: the given kinds, and the reviews."""
    return Registry((*kinds, *REVIEWS))


def _dry_run(request: Request) -> bool:
    wanted = request.query.get("dryRun")
    if wanted not in (None, "", "All"):
        raise bad_request(f"dryRun {wanted!r}: expected All")
    return wanted == "All"


def _number(text: str | None, name: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise bad_request(f"{name}: Invalid value: {text!r}: expected a number")
    return int(text or 0)
