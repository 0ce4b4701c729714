"""What the load balancer of one node holds: its pinned maps, read where they are.

    PINS/MAP  ->  rows (observe.lb_view, observe.connection_view)

Invariants  Reads only. As root on the node, or in the agent's container.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cairn.abi import structs
from cairn.abi.records import CONNECTION, TUPLE
from cairn.abi.structs import ServiceFlag
from cairn.libbpf import BpfError, Map
from cairn.net import Address
from cairn.observe.connection_rows import ConnectionRow, Filter
from cairn.observe.connection_view import collect
from cairn.observe.lb_rows import BackendRow, FrontendRow, TableRow
from cairn.observe.lb_view import backend_rows, frontend_rows, matching, table_row


class NoMaps(Exception):
    """The maps are not there, or may not be read; the text says what to do."""


@dataclass(frozen=True, slots=True)
class ConnectionPage:
    """The connections that were asked for."""

    connections: list[ConnectionRow]
    """The most recent ones."""
    total: int
    """How many there are of them."""


class PinnedMaps:
    """The maps of one node; a context manager."""

    def __init__(self, pins: Path) -> None:
        self._pins = pins
        self._open = ExitStack()
        self._maps: dict[str, Map] = {}

    def __enter__(self) -> "PinnedMaps":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def frontends(self) -> list[FrontendRow]:
        """Return every frontend."""
        return frontend_rows(self._map("services").items())

    def backends(self) -> list[BackendRow]:
        """Return every backend."""
        return backend_rows(
            list(self._map("services").items()),
            self._map("service_slots").items(),
            self._map("backends").items(),
            self._map("backend_counters").items(),
            self._map("nodes").items(),
        )

    def connections(self, wanted: Filter, limit: int | None) -> ConnectionPage:
        """Return the connections that the filter lets through."""
        rows, total = collect(self._connections(), time.monotonic_ns(), wanted).rows(limit)
        return ConnectionPage(rows, total)

    def tables(
        self, address: Address, port: int | None, client: tuple[Address, int] | None
    ) -> list[TableRow]:
        """Return the Maglev tables of the frontends at an address; one without is left out."""
        backends = {
            int.from_bytes(key, "little"): structs.Backend.read(value)
            for key, value in self._map("backends").items()
        }
        found = []
        for where, service in matching(self._map("services").items(), address, port).items():
            table = self._table(service)
            if table is not None:
                found.append(table_row(where, service, table, backends, client))
        return found

    def _table(self, service: structs.Service) -> NDArray[np.uint32] | None:
        small = service.flags & ServiceFlag.SMALL_TABLE
        outer = self._map("maglev_small" if small else "maglev")
        number = outer.lookup(service.id.to_bytes(4, "little"))
        if number is None:
            return None
        with Map.open_id(int.from_bytes(number, "little")) as inner:
            octets = inner.lookup(bytes(4))
        return None if octets is None else np.frombuffer(octets, "<u4")

    def _connections(self) -> Iterator[tuple[NDArray[np.void], NDArray[np.void]]]:
        for keys, values, _ in self._map("conntrack").batches():
            yield np.frombuffer(keys, TUPLE), np.frombuffer(values, CONNECTION)

    def _map(self, name: str) -> Map:
        if name not in self._maps:
            try:
                self._maps[name] = self._open.enter_context(Map.open_pinned(self._pins / name))
            except BpfError as error:
                raise NoMaps(
                    f"{error}: run it as root on a node, or without --local to ask the agents"
                ) from error
        return self._maps[name]
