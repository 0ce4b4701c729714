"""Get and list: objects, tables of them, and pages of a consistent state.

    Store, Kind, Selection, query  ->  Reply

Shapes      A list is the join of the objects' stored texts; none is decoded, unless for a table.
Invariants  The pages of one list show one state, that of the first page's revision.
Standards   Kubernetes API concepts: "Retrieving large results sets in chunks", "Receiving
            resources as Tables"
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cairn.apiserver.entry import Entry
from cairn.apiserver.environment import Environment
from cairn.apiserver.kind import Json, Kind
from cairn.apiserver.registry import resource_of
from cairn.apiserver.request import Reply, Request, json_reply
from cairn.apiserver.selection import Selection
from cairn.apiserver.status import Refused, bad_request, expired
from cairn.apiserver.store import Event, Store
from cairn.apiserver.table import render_table
from cairn.apiserver.watch import Line

PAGED_STATES = 32
"""Lists that may be read page by page at a time; the one unused for longest expires."""


@dataclass(frozen=True, slots=True)
class View:
    """The form in which a client wants objects."""

    table: bool = False
    """A table of rows, as kubectl shows it."""
    include: str = "Metadata"
    """What a row carries of its object: None, Metadata or Object."""


def view_of(request: Request) -> View:
    """Return the form that the Accept header asks for first, of those we have."""
    for offer in request.header("accept").split(","):
        media, *parameters = (part.strip() for part in offer.split(";"))
        if media not in ("application/json", "*/*", "application/*"):
            continue
        if "as=Table" in parameters and "v=v1" in parameters:
            include = request.query.get("includeObject") or "Metadata"
            return View(table=True, include=include)
        if not any(p.startswith("as=") for p in parameters):
            break
    return View()


class Reader:
    """Answers get and list."""

    def __init__(self, store: Store, environment: Environment) -> None:
        self._store = store
        self._environment = environment
        self._pages: OrderedDict[str, list[Entry]] = OrderedDict()

    def object(self, kind: Kind, entry: Entry, request: Request, code: int = 200) -> Reply:
        """Return one object in the form that is asked for."""
        view = view_of(request)
        if view.table:
            return json_reply(code, self._table(kind, [entry], view))
        return Reply(code, [entry.data_as(kind.api_version)])

    def listing(self, kind: Kind, selection: Selection, request: Request) -> Reply:
        """Return the selected objects, or a page of them; raises Refused (400, 410, 504)."""
        revision, at = self._store.revision, 0
        limit, token = _number(request, "limit"), request.query.get("continue") or ""
        if token:
            page, revision, at = self._page(token)
        else:
            self._check_revision(request)
            page, token_id = self._store.select(resource_of(kind), selection), ""
        end = at + limit if limit else len(page)
        metadata: Json = {"resourceVersion": str(revision)}
        if end < len(page):
            token_id = _open(token)["page"] if token else self._keep(page)
            metadata["continue"] = _seal({"page": token_id, "revision": revision, "at": end})
            if selection.labels is None and not selection.fields:
                metadata["remainingItemCount"] = len(page) - end
        return self._listed(kind, page[at:end], metadata, view_of(request))

    def line(self, kind: Kind, view: View) -> Line:
        """Return how a watcher with this view wants changes written, for tables."""

        def line(event: Event, entry: Entry) -> bytes:
            table = self._table(kind, [entry], view)
            return msgspec.json.encode({"type": event, "object": table}) + b"\n"

        return line

    def _listed(self, kind: Kind, entries: Sequence[Entry], metadata: Json, view: View) -> Reply:
        if view.table:
            table = self._table(kind, entries, view)
            return json_reply(200, table | {"metadata": metadata})
        head = msgspec.json.encode(
            {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
        )
        pieces = [head[:-1] + b',"items":[']
        for at, entry in enumerate(entries):
            if at:
                pieces.append(b",")
            pieces.append(entry.data_as(kind.api_version))
        pieces.append(b"]}")
        return Reply(200, pieces)

    def _table(self, kind: Kind, entries: Sequence[Entry], view: View) -> Json:
        objects = [entry.decode() | {"apiVersion": kind.api_version} for entry in entries]
        now = self._environment.now()
        table: Json = render_table(kind, objects, now=now, include=view.include)
        if len(entries) == 1:
            table.setdefault("metadata", {})["resourceVersion"] = str(entries[0].revision)
        return table

    def _check_revision(self, request: Request) -> None:
        wanted = _number(request, "resourceVersion")
        if wanted > self._store.revision:
            raise Refused(
                504,
                "Timeout",
                f"Too large resource version: {wanted}, current: {self._store.revision}",
            )
        if request.query.get("resourceVersionMatch") == "Exact" and wanted != self._store.revision:
            raise expired(f"resource version {wanted} is not kept; list without it")

    def _keep(self, page: list[Entry]) -> str:
        token_id = self._environment.new_uid()
        self._pages[token_id] = page
        while len(self._pages) > PAGED_STATES:
            self._pages.popitem(last=False)
        return token_id

    def _page(self, token: str) -> tuple[list[Entry], int, int]:
        opened = _open(token)
        page = self._pages.get(opened["page"])
        if page is None:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
        self._pages.move_to_end(opened["page"])
        if opened["at"] + 1 >= len(page):
            self._pages.pop(opened["page"])
        return page, opened["revision"], opened["at"]


def _number(request: Request, name: str) -> int:
    text = request.query.get(name) or "0"
    if not text.isascii() or not text.isdigit():
        raise bad_request(f"{name}: Invalid value: {text!r}: expected a number")
    return int(text)


def _seal(token: Json) -> str:
    return urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _open(token: str) -> Json:
    try:
        opened = msgspec.json.decode(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return {
            "page": str(opened["page"]),
            "revision": int(opened["revision"]),
            "at": max(0, int(opened["at"])),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request("continue key is not valid: it must be one that a list gave") from error
