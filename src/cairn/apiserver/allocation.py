"""Cluster addresses and node ports of Services: which are taken, and the next free ones.

    committed Services  ->  Allocations  ->  ServiceContext (what defaulting asks)

Invariants  No two Services hold one address or node port, also within one transaction.
            An address that was asked for is given or refused, never exchanged for another.
Standards   KEP-3070, KEP-3668 (the lower part of a range is for those who ask for an address or
            a node port of their own)
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from cairn.apiserver.kind import AllocationError, Json
from cairn.apiserver.store import Change, Event
from cairn.kube.metadata import Key

NODE_PORTS = range(30000, 32768)
ASKED_FOR = 256
"""Addresses at the beginning of a range that are given only to those who ask for one."""
PORTS_ASKED_FOR = 86
"""Node ports at the beginning of the range that are given unasked only when no other is free."""


class Allocations:
    """What Services hold, by committed state and by the running batch."""

    def __init__(self, ranges: Mapping[str, IPv4Network | IPv6Network]) -> None:
        self._ranges = ranges
        self._held: dict[str | int, Key] = {}
        self._pending: dict[str | int, Key] = {}
        self._next: dict[str, int] = {}

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the ranges, the default one first."""
        return tuple(self._ranges)

    def observe(self, changes: Iterable[Change]) -> None:
        """Take over committed changes and forget what was only reserved."""
        for change in changes:
            if change.resource != "services":
                continue
            if change.old is not None:
                for item in _holdings(change.old.decode()):
                    self._held.pop(item, None)
            if change.event is not Event.DELETED:
                self._held |= dict.fromkeys(_holdings(change.new.decode()), change.new.key)
        self._pending.clear()

    def hold(self, service: Json, key: Key) -> None:
        """Note what a stored Service holds."""
        self._held |= dict.fromkeys(_holdings(service), key)

    def address(self, family: str, wanted: str | None, owner: Key) -> str:
        """Return the address now reserved for `owner`; raises AllocationError."""
        network = self._ranges[family]
        if wanted:
            return self._take_address(network, wanted, owner)
        size = min(network.num_addresses, 1 << 16)
        first = ASKED_FOR if size > 2 * ASKED_FOR else 1
        free = self._search(family, range(first, size - 1), lambda n: str(network[n]))
        if free is None:
            raise AllocationError(f"range is full: every address of {network} is in use")
        self._pending[free] = owner
        return str(free)

    def port(self, wanted: int | None, owner: Key) -> int:
        """Return the node port now reserved for `owner`; raises AllocationError."""
        if wanted:
            if wanted not in NODE_PORTS:
                raise AllocationError(
                    "provided port is not in the valid range. The range of valid ports is "
                    f"{NODE_PORTS[0]}-{NODE_PORTS[-1]}"
                )
            self._take(wanted, owner, "port")
            return wanted
        free = self._search("port", NODE_PORTS[PORTS_ASKED_FOR:], lambda port: port)
        if free is None:
            free = self._search("low port", NODE_PORTS[:PORTS_ASKED_FOR], lambda port: port)
        if free is None:
            raise AllocationError("range is full: every node port is in use")
        self._pending[free] = owner
        return int(free)

    def _take_address(self, network: IPv4Network | IPv6Network, wanted: str, owner: Key) -> str:
        try:
            address = ip_address(wanted)
        except ValueError as error:
            raise AllocationError(f"{wanted!r} is not an address") from error
        if address not in network or address == network.network_address:
            raise AllocationError(
                f"the provided IP ({address}) is not in the valid range. "
                f"The range of valid IPs is {network}"
            )
        self._take(str(address), owner, "IP")
        return str(address)

    def _take(self, item: str | int, owner: Key, what: str) -> None:
        holder = self._holder(item)
        if holder not in (None, owner):
            raise AllocationError(f"provided {what} is already allocated to Service {holder}")
        self._pending[item] = owner

    def _holder(self, item: str | int) -> Key | None:
        return self._held.get(item) or self._pending.get(item)

    def _search(self, what: str, numbers: range, item_of: Any) -> str | int | None:
        """Return the next free item, going on where the last search ended."""
        start = self._next.get(what, 0) % len(numbers)
        for step in range(len(numbers)):
            at = (start + step) % len(numbers)
            item: str | int = item_of(numbers[at])
            if self._holder(item) is None:
                self._next[what] = at + 1
                return item
        return None


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """What defaulting of one object may ask."""

    old: Mapping[str, Any] | None
    """The stored object that is being replaced."""
    allocations: Allocations
    """Who holds what."""
    key: Key
    """The object being completed."""

    @property
    def families(self) -> tuple[str, ...]:
        """Families that Services can have addresses of, the default one first."""
        return self.allocations.families

    def allocate_cluster_ip(self, family: str, wanted: str | None) -> str:
        """Reserve an address."""
        return self.allocations.address(family, wanted, self.key)

    def allocate_node_port(self, protocol: str, wanted: int | None) -> int:
        """Reserve a node port; one Service may use its port for several protocols."""
        return self.allocations.port(wanted, self.key)


def _holdings(service: Mapping[str, Any]) -> Iterator[str | int]:
    spec = service.get("spec") or {}
    yield from {spec.get("clusterIP"), *(spec.get("clusterIPs") or ())} - {None, "", "None"}
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            yield port["nodePort"]
    if spec.get("healthCheckNodePort"):
        yield spec["healthCheckNodePort"]
