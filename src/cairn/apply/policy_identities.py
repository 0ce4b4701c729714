"""Who stands behind an address, as the data plane's map `identities` says.

    identity of a network, or of one address  ->  map `identities`

Invariants  A network that does not fit is kept in `homeless`; its addresses are taken for those of
            the next larger network meanwhile.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from cairn.abi.structs import Identity
from cairn.apply.map_batch import remove_entries, write_entries
from cairn.apply.peers import prefix_of
from cairn.libbpf import Map
from cairn.net import Network


class IdentityMap:
    """The identities of networks."""

    def __init__(self, table: Map) -> None:
        self._map = table
        self._held = dict(table.items())
        self._uses = Counter(map(_identity, self._held.values()))
        self.homeless: dict[Network, int] = {}
        """Networks whose identity does not fit."""

    def leads_to(self, identity: int) -> bool:
        """Return whether any network has this identity."""
        return identity in self._uses

    def write(self, networks: Mapping[Network, int | None]) -> tuple[bool, list[str]]:
        """Write identities, or with None remove them; return whether any changed, what failed."""
        wanted = {prefix_of(network).write(): network for network in networks}
        writes: dict[bytes, bytes] = {}
        gone: list[bytes] = []
        for key, network in wanted.items():
            identity = networks[network]
            self.homeless.pop(network, None)
            if identity is None:
                gone += (key,) if key in self._held else ()
            elif self._held.get(key) != _octets(identity):
                writes[key] = _octets(identity)
        failed = write_entries(self._map, writes)
        for key, value in writes.items():
            if key in failed:
                self.homeless[wanted[key]] = _identity(value)
                continue
            if key in self._held:
                self._leave(self._held[key])
            self._held[key] = value
            self._uses[_identity(value)] += 1
        wrong = self._remove(gone)
        return bool(writes or gone), [*sorted(set(failed.values())), *filter(None, [wrong])]

    def keep(self, networks: Iterable[Network]) -> bool:
        """Remove every network but these; return whether there were others."""
        others = list(self._held.keys() - {prefix_of(network).write() for network in networks})
        self._remove(others)
        return bool(others)

    def taken_for(self, network: Network) -> int:
        """Return the identity that programs find for a network that is not in the map."""
        for bits in range(network.prefixlen - 1, -1, -1):
            value = self._held.get(prefix_of(network.supernet(new_prefix=bits)).write())
            if value is not None:
                return _identity(value)
        return Identity.NONE

    def _remove(self, keys: list[bytes]) -> str:
        for key in keys:
            self._leave(self._held.pop(key))
        return remove_entries(self._map, keys)

    def _leave(self, value: bytes) -> None:
        identity = _identity(value)
        self._uses[identity] -= 1
        if not self._uses[identity]:
            del self._uses[identity]


def _identity(value: bytes) -> int:
    return int.from_bytes(value, "little")


def _octets(identity: int) -> bytes:
    return identity.to_bytes(4, "little")
