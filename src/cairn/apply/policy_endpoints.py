"""Whose policy each pod of the node is under, as the data plane's map `endpoints` says.

    address -> identity, identity -> flags  ->  fields `identity` and `flags` of `endpoints`

Invariants  What else stands in an entry stays; an address without an entry is not wired, and is
            written when it is told of again after that.
            Until its identity's policy is in the maps, a pod's entry is as it was.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from cairn.abi.address import write_address
from cairn.abi.structs import Endpoint, EndpointFlag
from cairn.libbpf import BpfError, Map
from cairn.net import Address

POLICY_FLAGS = EndpointFlag.EGRESS | EndpointFlag.INGRESS | EndpointFlag.CLOSED

FlagsOf = Callable[[int], EndpointFlag | None]
"""The flags that go with an identity; None while its policy is not in the maps."""


class PolicyEndpoints:
    """The identities of one node's pods."""

    def __init__(self, table: Map) -> None:
        self._map = table
        self._identities: dict[bytes, int] = {}
        self._keys: dict[int, set[bytes]] = defaultdict(set)
        self._unwritten: set[bytes] = set()
        self._written = {key: Endpoint.read(value).identity for key, value in table.items()}

    def set(self, identities: Mapping[Address, int | None]) -> None:
        """Take note of who pods are; None: there is no such pod any more."""
        for address, identity in identities.items():
            key = write_address(address)
            before = self._identities.pop(key, None)
            if before is not None:
                self._keys[before].discard(key)
                if not self._keys[before]:
                    del self._keys[before]
            if identity is None:
                self._written.pop(key, None)
                continue
            self._identities[key] = identity
            self._keys[identity].add(key)
            self._unwritten.add(key)

    def has(self, identity: int) -> bool:
        """Return whether a pod has this identity, or its entry still says so."""
        return identity in self._keys or identity in self._written.values()

    def written(self, address: Address) -> int | None:
        """Return the identity in a pod's entry, if it is what it should be."""
        key = write_address(address)
        identity = self._identities.get(key)
        done = key not in self._unwritten and self._written.get(key) == identity
        return identity if done else None

    def write(self, changed: Iterable[int], flags: FlagsOf) -> tuple[bool, list[str]]:
        """Write pods that are new and those of the `changed` identities.

        Returns whether anything was written, and what failed.
        """
        keys = self._unwritten.union(*(self._keys.get(identity, ()) for identity in changed))
        self._unwritten = set()
        wrote, failed = False, []
        for key in keys:
            identity = self._identities.get(key)
            if identity is None:
                continue
            own = flags(identity)
            if own is None:
                self._unwritten.add(key)
                continue
            try:
                wrote |= self._write(key, identity, own)
            except BpfError as error:
                self._unwritten.add(key)
                failed.append(str(error))
        return wrote, failed

    def _write(self, key: bytes, identity: int, flags: EndpointFlag) -> bool:
        held = self._map.lookup(key)
        if held is None:
            return False
        value = Endpoint.read(held)
        flags |= EndpointFlag(value.flags) & ~POLICY_FLAGS
        wanted = replace(value, identity=identity, flags=flags).write()
        if wanted != held:
            self._map.update(key, wanted)
        self._written[key] = identity
        return wanted != held
