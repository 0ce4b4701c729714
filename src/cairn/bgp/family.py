"""Address families as BGP numbers them.

    AFI, SAFI  <->  Family

Standards   RFC 4760 s3, s6; IANA address family numbers
"""

from dataclasses import dataclass

from cairn.net import Network
from cairn.wire import Reader, Writer

AFI_IPV4 = 1
AFI_IPV6 = 2
SAFI_UNICAST = 1


@dataclass(frozen=True, slots=True, order=True)
class Family:
    """One address family and what its routes are for."""

    afi: int
    """Address family identifier."""
    safi: int
    """Subsequent address family identifier."""

    def __str__(self) -> str:
        return NAMES.get(self, f"afi {self.afi} safi {self.safi}")


IPV4_UNICAST = Family(AFI_IPV4, SAFI_UNICAST)
IPV6_UNICAST = Family(AFI_IPV6, SAFI_UNICAST)
NAMES = {IPV4_UNICAST: "IPv4 unicast", IPV6_UNICAST: "IPv6 unicast"}


def family_of(prefix: Network) -> Family:
    """Return the unicast family that `prefix` belongs to."""
    return IPV4_UNICAST if prefix.version == 4 else IPV6_UNICAST


def read_family(wire: Reader) -> Family:
    """Read AFI:u16, SAFI:u8."""
    return Family(wire.u16(), wire.u8())


def write_family(family: Family) -> bytes:
    """Return AFI:u16, SAFI:u8."""
    return Writer().u16(family.afi).u8(family.safi).done()
