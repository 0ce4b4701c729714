"""An address, a protocol and a port: where a service is reached or a backend listens.

    (address, protocol, port)  ->  L4Address  <->  "10.0.0.1:80/TCP", "[::1]:80/TCP"

Units       port in host order
"""

from dataclasses import dataclass

from cairn.net.address import Address, parse_address
from cairn.net.protocol import Protocol


@dataclass(frozen=True, slots=True)
class L4Address:
    """One transport endpoint."""

    address: Address
    """IPv4 or IPv6."""
    protocol: Protocol
    """Transport protocol."""
    port: int
    """Host order, 0 to 65535."""

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}/{self.protocol.name}"

    def sort_key(self) -> tuple[int, int, int, int]:
        """Return a key that orders endpoints of both families deterministically."""
        return (self.address.version, int(self.address), int(self.protocol), self.port)


def parse_l4_address(text: str) -> L4Address:
    """Return what `str` of an L4Address gave; raises ValueError."""
    place, _, protocol = text.rpartition("/")
    host, _, port = place.rpartition(":")
    if protocol not in Protocol.__members__:
        raise ValueError(f"{text!r} names no protocol: write ADDRESS:PORT/TCP")
    if not (port.isascii() and port.isdigit() and int(port[:6]) < 65536):
        raise ValueError(f"{text!r} has no port from 0 to 65535")
    address = parse_address(host.removeprefix("[").removesuffix("]"))
    if (address.version == 6) != host.startswith("["):
        raise ValueError(f"{text!r}: brackets stand around IPv6 addresses, and those only")
    return L4Address(address, Protocol[protocol], int(port))
