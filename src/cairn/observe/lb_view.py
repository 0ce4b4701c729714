"""What a node's service maps hold, as rows for people and programs.

    entries of services, service_slots, backends, backend_counters, nodes, Maglev tables  ->  rows

Not here    connections (connection_view.py); names of Services, which the maps do not know
            (diagnose.lb_names)
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from cairn.abi import structs
from cairn.abi.structs import BackendFlag, ServiceFlag
from cairn.net import Address, L4Address, Protocol
from cairn.observe.flow_hash import hash_client, hash_flow, slot_of
from cairn.observe.lb_rows import (
    ACTIVE,
    DRAINING,
    HERE,
    UNUSED,
    BackendRow,
    FrontendRow,
    TableRow,
    name_of,
)

Entries = Iterable[tuple[bytes, bytes]]

WORDS = {
    ServiceFlag.AFFINITY: "affinity",
    ServiceFlag.LOCAL: "local",
    ServiceFlag.SOCKET_LOCAL: "socket-local",
    ServiceFlag.SOURCE_RANGES: "source-ranges",
}


def frontend_rows(services: Entries) -> list[FrontendRow]:
    """Return a row per frontend, in order of address."""
    found = []
    for octets, value in services:
        where, service = _frontend(octets), structs.Service.read(value)
        flags = tuple(word for flag, word in WORDS.items() if service.flags & flag)
        found.append((where, service, flags))
    found.sort(key=lambda item: item[0].sort_key())
    return [
        FrontendRow(
            str(where.address),
            where.port,
            where.protocol.name,
            service.slots,
            service.local_slots,
            flags,
            service.affinity_s,
        )
        for where, service, flags in found
    ]


def backend_rows(
    services: Entries, slots: Entries, backends: Entries, counters: Entries, nodes: Entries
) -> list[BackendRow]:
    """Return a row per backend, in order of address."""
    frontends = _frontends_by_backend(services, slots)
    counts = {_number(k): structs.BackendCounters.read(value) for k, value in counters}
    addresses = {_number(k): str(structs.Node.read(value).address) for k, value in nodes}
    found = [(_number(k), structs.Backend.read(value)) for k, value in backends]
    found.sort(key=lambda item: (item[1].address.version, int(item[1].address), item[1].port))
    rows = []
    for number, backend in found:
        count = counts.get(number) or structs.BackendCounters(0, 0, 0, 0)
        used = tuple(sorted(frontends.get(number, ())))
        here = HERE if backend.flags & BackendFlag.LOCAL else ""
        rows.append(
            BackendRow(
                str(backend.address),
                backend.port,
                here or addresses.get(backend.node, ""),
                _state(backend, used),
                used,
                count.opened,
                count.answered,
                count.refused,
                count.reset,
            )
        )
    return rows


def matching(
    services: Entries, address: Address, port: int | None
) -> dict[L4Address, structs.Service]:
    """Return the frontends at an address, and at one port of it if that is given."""
    found = {_frontend(octets): structs.Service.read(value) for octets, value in services}
    return {
        where: service
        for where, service in sorted(found.items(), key=lambda item: item[0].sort_key())
        if where.address == address and port in (None, where.port)
    }


def table_row(
    where: L4Address,
    service: structs.Service,
    table: NDArray[np.uint32],
    backends: Mapping[int, structs.Backend],
    client: tuple[Address, int] | None,
) -> TableRow:
    """Return what a table says, and whom it gives to a client (address, port)."""
    numbers, position = np.unique(table, return_inverse=True)
    names = [_name(backends.get(int(number)), int(number)) for number in numbers]
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), dtype="<u4")
    rank[order] = np.arange(len(names))
    digest = hashlib.blake2b(rank[position].tobytes(), digest_size=8)
    digest.update("\n".join(names[i] for i in order).encode())
    counts = np.bincount(position)
    chosen = ""
    if client is not None:
        flow = L4Address(client[0], where.protocol, client[1])
        affine = service.flags & ServiceFlag.AFFINITY
        hashed = hash_client(client[0]) if affine else hash_flow(flow, where)
        chosen = names[position[slot_of(hashed, len(table))]]
    shares = {names[i]: int(counts[i]) for i in order}
    return TableRow(str(where), len(table), digest.hexdigest(), shares, chosen)


def _frontends_by_backend(services: Entries, slots: Entries) -> dict[int, set[str]]:
    by_service = {
        structs.Service.read(value).id: (str(_frontend(octets)), structs.Service.read(value).slots)
        for octets, value in services
    }
    found: dict[int, set[str]] = defaultdict(set)
    for octets, value in slots:
        slot = structs.SlotKey.read(octets)
        name, count = by_service.get(slot.service, ("", 0))
        if slot.slot < count:
            found[_number(value)].add(name)
    return found


def _state(backend: structs.Backend, frontends: tuple[str, ...]) -> str:
    if backend.flags & BackendFlag.TERMINATING:
        return DRAINING
    return ACTIVE if frontends else UNUSED


def _frontend(octets: bytes) -> L4Address:
    key = structs.ServiceKey.read(octets)
    return L4Address(key.address, Protocol(key.protocol), key.port)


def _name(backend: structs.Backend | None, number: int) -> str:
    return f"backend {number}" if backend is None else name_of(backend.address, backend.port)


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "little")
