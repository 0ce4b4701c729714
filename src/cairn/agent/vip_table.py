"""The addresses that this node serves for clients outside, and how.

    LbState by Service, addresses of all nodes, who answers ARP  ->  content of the map `vips`

Invariants  A changed Service touches the addresses that it has or had, and no others.
            An address that several claim is a load balancer's before it is shared: then no port of
            it reaches the node's own stack.
Cost        one Service: its addresses
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from cairn.abi import structs
from cairn.abi.address import read_address, write_address
from cairn.abi.structs import VipFlag
from cairn.apply.map_batch import write_entries
from cairn.apply.uplink import Uplink
from cairn.compile.l2 import Claims
from cairn.desired.load_balancer import Kind, LbState
from cairn.kube.metadata import Key
from cairn.libbpf import Map
from cairn.net import Address

Elect = Callable[[Address, Claims], str | None]
"""Chooses from what Services say of an address the node that answers ARP and ND for it."""

SETS_KEPT = 4096


class VipTable:
    """The map `vips` of one node."""

    def __init__(self, maps: Mapping[str, Map], uplink: Uplink, node: str, elect: Elect) -> None:
        self._maps = maps
        self._uplink = uplink
        self._node = node
        self._elect = elect
        self._users: dict[Address, dict[Key, tuple[Kind, frozenset[str]]]] = defaultdict(dict)
        self._of: dict[Key, tuple[Address, ...]] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self._nodes: frozenset[Address] = frozenset()
        self._written: dict[bytes, bytes] = dict(maps["vips"].items())
        self._dirty: set[Address] = set()
        self._answered: set[Address] = set()
        self.on_answered: Callable[[frozenset[Address]], None] = lambda _: None
        """Called with `answered` after a write that changed it."""

    @property
    def answered(self) -> frozenset[Address]:
        """Those that this node answers ARP and ND for."""
        return frozenset(self._answered)

    def update(self, key: Key, state: LbState) -> None:
        """Take note of a Service's frontends as they are now; none if it is gone."""
        claims: dict[Address, tuple[Kind, frozenset[str]]] = {}
        for where, frontend in state.items():
            if frontend.kind in (Kind.LOAD_BALANCER, Kind.EXTERNAL_IP):
                nodes = frozenset(b.node for b in frontend.active if not b.ejected)
                _, known = claims.get(where.address, (frontend.kind, frozenset()))
                nodes |= known
                # Few sets of nodes differ: each is held once.
                claims[where.address] = (frontend.kind, self._sets.setdefault(nodes, nodes))
        if len(self._sets) > SETS_KEPT:
            self._sets.clear()
        for address in set(self._of.get(key, ())) - claims.keys():
            self._users[address].pop(key, None)
            self._dirty.add(address)
        for address, claim in claims.items():
            self._users[address][key] = claim
            self._dirty.add(address)  # the claim may be the old one, and its Service another
        self._of[key] = tuple(claims)
        if not claims:
            del self._of[key]

    def set_nodes(self, addresses: Iterable[Address]) -> None:
        """Take note of every node's addresses, where node ports listen."""
        nodes = frozenset(addresses)
        self._dirty |= nodes ^ self._nodes
        self._nodes = nodes

    def elect_again(self) -> None:
        """Choose anew who answers for every address, at the next write."""
        self._dirty |= set(self._users)

    def write(self, *, whole: bool = False) -> list[str]:
        """Write what changed, or make the map hold exactly this; return what failed."""
        changed = False
        if whole:
            self._written = dict(self._maps["vips"].items())
            self._dirty |= set(self._users) | self._nodes
            known = {write_address(address) for address in self._dirty}
            for octets in self._written.keys() - known:
                self._delete(octets)
        wanted = {address: self._flags(address) for address in self._dirty}
        values: dict[bytes, bytes] = {}
        for address, flags in wanted.items():
            octets = write_address(address)
            if flags is None:
                self._users.pop(address, None)
                self._delete(octets)
            elif self._written.get(octets) != (value := structs.Vip(flags).write()):
                values[octets] = value
            if (address in self._answered) != bool(flags and flags & VipFlag.ARP):
                self._answered ^= {address}
                changed = True
        refused = write_entries(self._maps["vips"], values)
        self._written |= {octets: v for octets, v in values.items() if octets not in refused}
        self._dirty = {read_address(octets) for octets in refused}
        if changed:
            self.on_answered(self.answered)
        return [f"address {read_address(octets)}: {text}" for octets, text in refused.items()]

    def _delete(self, octets: bytes) -> None:
        if self._written.pop(octets, None) is not None:
            self._maps["vips"].delete(octets)

    def _flags(self, address: Address) -> VipFlag | None:
        """Return how the node serves an address; None if it does not."""
        claims = self._users.get(address, {})
        if address in self._nodes:
            return VipFlag.SHARED | VipFlag.NODE
        if not claims:
            return None
        shared = all(kind is Kind.EXTERNAL_IP for kind, _ in claims.values())
        flags = VipFlag.SHARED if shared else VipFlag.PING
        on_link = any(address in network for network in self._uplink.networks)
        answers = on_link and self._elect(address, claims) == self._node
        return flags | VipFlag.ARP if answers else flags
