"""Capability 2: the speaker sends its routes again when asked.

    no octets  <->  RouteRefresh

Standards   RFC 2918 s2
"""

from dataclasses import dataclass

from cairn.bgp.capability.kind import CapabilityKind
from cairn.wire import Reader


@dataclass(frozen=True, slots=True)
class RouteRefresh:
    """ROUTE-REFRESH is understood."""

    def __str__(self) -> str:
        return "route refresh"


def read_route_refresh(wire: Reader) -> RouteRefresh:
    """Return the value; the capability has no contents."""
    return RouteRefresh()


def write_route_refresh(value: RouteRefresh) -> bytes:
    """Return no octets."""
    return b""


KIND = CapabilityKind(
    code=2,
    name="route refresh",
    type=RouteRefresh,
    read=read_route_refresh,
    write=write_route_refresh,
    spec="RFC 2918 s2",
)
