"""Which routes the kernel should hold: the RIB's paths, and what an earlier run left for now.

    best paths per prefix, routes found at start  ->  KernelRoutes to replace and to delete

After a restart the peers come back one by one. Until a peer has told everything it has (it is
settled), the next hops that the earlier run installed for it stay, so that a restart of the router
loses no packet; then what it did not repeat goes.

Invariants  Next hops are in the order of their addresses, whatever the order of arrival: the kernel
            maps flows to next hops by position.
            A prefix without next hops has no route.
            A next hop that the kernel refuses is left out until the next comparison: one node's
            nonsense does not cost the others' share.
Cost        Work in proportion to the prefixes that changed since the last call of `changes`.
Not here    Writing them (cairn.netlink.route).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from cairn.desired.routes import KernelRoute, NextHop
from cairn.net import Address, Network


@dataclass(frozen=True, slots=True)
class Changes:
    """What to write."""

    replace: tuple[KernelRoute, ...]
    """Routes that are new or have other next hops."""
    delete: tuple[KernelRoute, ...]
    """Routes that should be gone."""

    def __bool__(self) -> bool:
        return bool(self.replace or self.delete)


class Fib:
    """The routes that one routing daemon owns in the kernel."""

    def __init__(self, found: Iterable[KernelRoute], *, metric: int, multipath: int = 16) -> None:
        self._metric = metric
        self._multipath = multipath
        self._paths: dict[Network, Mapping[Address, int]] = {}
        self._installed = {route.prefix: route for route in found}
        self._kept: dict[Network, dict[Address, int]] = {
            prefix: _gateways(route) for prefix, route in self._installed.items()
        }
        self._left_out: dict[Network, frozenset[Address]] = {}
        self._dirty: set[Network] = set()

    @property
    def kept(self) -> int:
        """Routes of an earlier run that still wait for their peers."""
        return len(self._kept)

    @property
    def installed(self) -> Mapping[Network, KernelRoute]:
        """What the kernel holds, as far as we know."""
        return self._installed

    def set_paths(
        self,
        prefix: Network,
        gateways: Iterable[Address],
        weights: Mapping[Address, int] | None = None,
    ) -> None:
        """Take the RIB's next hops for `prefix`, equal unless weighted; none withdraws it."""
        paths = {gateway: (weights or {}).get(gateway, 1) for gateway in gateways}
        if paths:
            self._paths[prefix] = paths
        else:
            self._paths.pop(prefix, None)
        self._dirty.add(prefix)

    def settle(self, gateway: Address, version: int) -> None:
        """Forget what an earlier run knew from this peer: it has repeated all that still holds.

        `version` says of which IP version's prefixes.
        """
        for prefix, gateways in list(self._kept.items()):
            if prefix.version == version and gateway in gateways:
                self._keep(prefix, {g: w for g, w in gateways.items() if g != gateway})

    def settle_all(self) -> None:
        """Forget everything that an earlier run left and nobody repeated."""
        for prefix in list(self._kept):
            self._keep(prefix, {})

    def observe(self, actual: Iterable[KernelRoute]) -> None:
        """Compare with what the kernel really holds; what differs is written again."""
        found = {route.prefix: route for route in actual}
        for prefix in found.keys() | self._installed.keys():
            if _shape(found.get(prefix)) != _shape(self._installed.get(prefix)):
                self._dirty.add(prefix)
        self._dirty.update(self._left_out)
        self._left_out.clear()
        self._installed = found

    def failed(self, route: KernelRoute) -> None:
        """Take back what `changes` assumed: the kernel refused this route."""
        self._installed.pop(route.prefix, None)

    def leave_out(self, prefix: Network, gateways: Collection[Address]) -> None:
        """Do without these next hops for now: the kernel takes no route with them."""
        self._left_out[prefix] = self._left_out.get(prefix, frozenset()) | frozenset(gateways)
        self._dirty.add(prefix)

    def changes(self) -> Changes:
        """Return the writes since the last call, taking for granted that they succeed."""
        replace, delete = [], []
        for prefix in sorted(self._dirty, key=lambda p: (p.version, p)):
            wanted = self._wanted(prefix)
            actual = self._installed.get(prefix)
            if wanted is None:
                if actual is not None:
                    delete.append(actual)
                    del self._installed[prefix]
            elif _shape(actual) != _shape(wanted):
                if actual is not None and actual.metric != wanted.metric:
                    delete.append(actual)
                replace.append(wanted)
                self._installed[prefix] = wanted
        self._dirty.clear()
        return Changes(tuple(replace), tuple(delete))

    def _wanted(self, prefix: Network) -> KernelRoute | None:
        gateways = {**self._kept.get(prefix, {}), **self._paths.get(prefix, {})}
        for gateway in self._left_out.get(prefix, ()):
            gateways.pop(gateway, None)
        if not gateways:
            return None
        ordered = sorted(gateways, key=lambda address: (address.version, int(address)))
        chosen = ordered[: self._multipath]
        # The kernel keeps no weight for a next hop that is alone.
        alone = len(chosen) == 1
        hops = tuple(NextHop(a, weight=1 if alone else gateways[a]) for a in chosen)
        return KernelRoute(prefix, hops, metric=self._metric)

    def _keep(self, prefix: Network, gateways: dict[Address, int]) -> None:
        if gateways:
            self._kept[prefix] = gateways
        else:
            self._kept.pop(prefix, None)
        self._dirty.add(prefix)


def _gateways(route: KernelRoute) -> dict[Address, int]:
    return {hop.address: hop.weight for hop in route.nexthops if hop.address is not None}


def _shape(route: KernelRoute | None) -> tuple[object, ...] | None:
    """Return what two routes must agree in; interfaces are the kernel's own finding."""
    if route is None:
        return None
    return route.metric, tuple((hop.address, hop.weight) for hop in route.nexthops)
