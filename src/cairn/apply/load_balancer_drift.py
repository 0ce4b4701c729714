"""Whether the load balancer's maps still hold what the agent wrote.

    maps, {frontend: (id, backend numbers)}  ->  (frontend, what differs)

Cost    two maps walked once
"""

from collections.abc import Iterator, Mapping

from cairn.abi import structs
from cairn.apply.service_entry import key_of_service
from cairn.libbpf import Map
from cairn.net import L4Address, Protocol

Written = Mapping[L4Address, tuple[int, tuple[int, ...]]]
"""Service id and backends in the order of their slots, by frontend."""


def find_drift(maps: Mapping[str, Map], written: Written) -> Iterator[tuple[L4Address, str]]:
    """Yield each frontend that the kernel does not hold as it was written; raises BpfError."""
    services = dict(maps["services"].items())
    slots = dict(maps["service_slots"].items())
    known = set()
    for where, (number, backends) in written.items():
        key = key_of_service(where)
        known.add(key)
        value = services.get(key)
        if value is None:
            yield where, "the map services lacks it"
            continue
        service = structs.Service.read(value)
        if service.id != number:
            yield where, f"it leads to service id {service.id}, not {number}"
            continue
        for slot, backend in enumerate(backends):
            found = slots.get(structs.SlotKey(number, slot).write())
            if found is None or int.from_bytes(found, "little") != backend:
                has = "nothing" if found is None else f"backend {int.from_bytes(found, 'little')}"
                yield where, f"slot {slot} holds {has}, not backend {backend}"
                break
    for key in services.keys() - known:
        place = structs.ServiceKey.read(key)
        yield L4Address(place.address, Protocol(place.protocol), place.port), "nobody asked for it"
