"""An address, a protocol and a port: where a service is reached or a backend listens.

    (address, protocol, port)  ->  L4Address

Units       port in host order
"""

from dataclasses import dataclass

from cairn.net.address import Address
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
