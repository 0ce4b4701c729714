"""Kinds by name, builtin and made from Cairn's own definitions."""

from typing import Any

import pytest

from cairn.apiserver.builtin import BUILTIN
from cairn.apiserver.crd import kind_from_crd
from cairn.apiserver.kind import AllocationError, Kind
from cairn.kube.crds import load


class Allocator:
    """Addresses and ports in order; what is taken is refused."""

    def __init__(
        self, old: dict[str, Any] | None = None, families: tuple[str, ...] = ("IPv4", "IPv6")
    ) -> None:
        self.old = old
        self.families = families
        self.taken: set[Any] = set()

    def allocate_cluster_ip(self, family: str, wanted: str | None) -> str:
        pattern = "10.96.1.{}" if family == "IPv4" else "fd00::{}"
        found: str = self._take(wanted, (pattern.format(n) for n in range(1, 250)))
        return found

    def allocate_node_port(self, protocol: str, wanted: int | None) -> int:
        found: tuple[str, int] = self._take(
            (protocol, wanted) if wanted else None, ((protocol, n) for n in range(30000, 30100))
        )
        return found[1]

    def _take(self, wanted: Any, free: Any) -> Any:
        if wanted in self.taken:
            raise AllocationError(f"{wanted} is taken")
        item = wanted or next(x for x in free if x not in self.taken)
        self.taken.add(item)
        return item


@pytest.fixture(scope="session")
def kinds() -> dict[tuple[str, str], Kind]:
    """Every kind by apiVersion and kind."""
    made = [kind_from_crd(crd, v["name"]) for crd in load() for v in crd["spec"]["versions"]]
    return {(kind.api_version, kind.kind): kind for kind in (*BUILTIN, *made)}


@pytest.fixture
def allocator() -> type[Allocator]:
    """The class, so that a test may start with an old object."""
    return Allocator
