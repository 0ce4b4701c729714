"""Capability 70: a refresh is marked at its beginning and end.

    no octets  <->  EnhancedRefresh

Standards   RFC 7313 s3.1
"""

from dataclasses import dataclass

from cairn.bgp.capability.kind import CapabilityKind
from cairn.wire import Reader


@dataclass(frozen=True, slots=True)
class EnhancedRefresh:
    """BoRR and EoRR are understood."""

    def __str__(self) -> str:
        return "enhanced route refresh"


def read_enhanced_refresh(wire: Reader) -> EnhancedRefresh:
    """Return the value; the capability has no contents."""
    return EnhancedRefresh()


def write_enhanced_refresh(value: EnhancedRefresh) -> bytes:
    """Return no octets."""
    return b""


KIND = CapabilityKind(
    code=70,
    name="enhanced route refresh",
    type=EnhancedRefresh,
    read=read_enhanced_refresh,
    write=write_enhanced_refresh,
    spec="RFC 7313 s3.1",
)
