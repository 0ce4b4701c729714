"""The table of capabilities, and the list of them as OPEN carries it.

    code:u8 length:u8 contents, repeated  <->  tuple of capabilities

Invariants  An unknown capability is kept as it came.
Standards   RFC 5492 s4
"""

from cairn.bgp.capability import (
    enhanced_refresh,
    extended_message,
    four_octet_as,
    graceful_restart,
    multiprotocol,
    route_refresh,
)
from cairn.bgp.capability.enhanced_refresh import EnhancedRefresh
from cairn.bgp.capability.extended_message import ExtendedMessage
from cairn.bgp.capability.four_octet_as import FourOctetAs
from cairn.bgp.capability.graceful_restart import GracefulRestart
from cairn.bgp.capability.kind import UnknownCapability
from cairn.bgp.capability.multiprotocol import Multiprotocol
from cairn.bgp.capability.route_refresh import RouteRefresh
from cairn.wire import Malformed, Reader, Writer

Capability = (
    Multiprotocol
    | RouteRefresh
    | ExtendedMessage
    | GracefulRestart
    | FourOctetAs
    | EnhancedRefresh
    | UnknownCapability
)

ALL = (
    multiprotocol.KIND,
    route_refresh.KIND,
    extended_message.KIND,
    graceful_restart.KIND,
    four_octet_as.KIND,
    enhanced_refresh.KIND,
)
BY_CODE = {kind.code: kind for kind in ALL}
BY_TYPE = {kind.type: kind for kind in ALL}


def read_capabilities(wire: Reader) -> tuple[Capability, ...]:
    """Read capabilities until the octets end; raises Malformed."""
    found: list[Capability] = []
    while wire:
        code = wire.u8()
        contents = wire.sub(wire.u8())
        kind = BY_CODE.get(code)
        if kind is None:
            found.append(UnknownCapability(code, contents.rest()))
            continue
        found.append(kind.read(contents))
        if contents:
            raise Malformed(f"{contents.left} octets too many in {kind.name}", at=contents.at)
    return tuple(found)


def write_capability(capability: Capability) -> bytes:
    """Return code, length and contents."""
    if isinstance(capability, UnknownCapability):
        code, contents = capability.code, capability.octets
    else:
        kind = BY_TYPE[type(capability)]
        code, contents = kind.code, kind.write(capability)
    return Writer().u8(code).u8(len(contents)).put(contents).done()
