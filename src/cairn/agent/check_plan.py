"""Which backends of this node are checked for which Services, kept as Services change.

    Announced Services, pods' probes  ->  Check by backend, what changed

Cost        a changed Service: its backends on this node; a changed pod: the Services that have it
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from cairn.compile.announcements import Announced
from cairn.compile.health_checks import Probes, Wanted, choose_check, compile_checks, probes_of
from cairn.health.check import Check
from cairn.kube.metadata import Key
from cairn.kube.pod_probe import PodProbes
from cairn.net import Address, L4Address


class CheckPlan:
    """What the Services want to be checked."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._probes: Probes = {}
        self._wanted: dict[L4Address, dict[Key, Wanted]] = defaultdict(dict)
        self._of: dict[Key, frozenset[L4Address]] = {}

    def set_pods(self, pods: Iterable[PodProbes]) -> None:
        """Take the pods of the node; `update` then tells what becomes of their Services."""
        self._probes = probes_of(pods)

    def users(self, where: L4Address) -> tuple[Key, ...]:
        """Return the Services that have a backend, by name."""
        return tuple(sorted(self._wanted.get(where, ())))

    def users_at(self, addresses: frozenset[Address]) -> set[Key]:
        """Return the Services that have a backend at any of these addresses."""
        return {
            key
            for where, wanted in self._wanted.items()
            if where.address in addresses
            for key in wanted
        }

    def update(
        self, key: Key, entry: Announced | None
    ) -> tuple[list[tuple[L4Address, Check | None]], str]:
        """Take a Service as it is; return checks to set, and what of its annotation is unread."""
        wanted: dict[L4Address, Wanted] = {}
        wrong = ""
        if entry is not None:
            wanted, wrong = compile_checks(entry.service, entry.here, self._node, self._probes)
        before = self._of.pop(key, frozenset())
        for where in before - wanted.keys():
            self._wanted[where].pop(key, None)
        for where, wish in wanted.items():
            self._wanted[where][key] = wish
        if wanted:
            self._of[key] = frozenset(wanted)
        return list(self._choose(before | wanted.keys())), wrong

    def _choose(self, backends: Iterable[L4Address]) -> Iterator[tuple[L4Address, Check | None]]:
        for where in backends:
            wishes = self._wanted[where]
            yield where, choose_check(wishes[key] for key in sorted(wishes))
            if not wishes:
                del self._wanted[where]
