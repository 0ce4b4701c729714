"""What two OPENs agree on: the one thing that codecs know of a session.

    negotiate(announced, received)  ->  Negotiated

Invariants  Pure; a family, a capability or a time not in both OPENs is not in the result.
Standards   RFC 4271 s4.2, s10; RFC 4724 s4; RFC 4760 s8; RFC 5492 s4; RFC 6793 s4; RFC 8654 s4
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TypeVar

from cairn.bgp.capability.enhanced_refresh import EnhancedRefresh
from cairn.bgp.capability.extended_message import ExtendedMessage
from cairn.bgp.capability.four_octet_as import FourOctetAs
from cairn.bgp.capability.graceful_restart import GracefulRestart
from cairn.bgp.capability.multiprotocol import Multiprotocol
from cairn.bgp.capability.route_refresh import RouteRefresh
from cairn.bgp.capability.table import Capability
from cairn.bgp.family import IPV4_UNICAST, Family
from cairn.bgp.framing import MAX_EXTENDED_MESSAGE_BYTES, MAX_MESSAGE_BYTES
from cairn.bgp.message.open import Open

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What holds for one session."""

    local_asn: int
    """Our autonomous system."""
    remote_asn: int
    """The peer's."""
    remote_id: IPv4Address
    """The peer's BGP identifier."""
    hold_time_s: int
    """The smaller of both; 0: no keepalives."""
    families: frozenset[Family]
    """What routes are exchanged of."""
    four_octet_as: bool
    """AS numbers on the wire have four octets."""
    extended_message: bool
    """Both read messages of up to 65,535 octets."""
    route_refresh: bool
    """The peer understands ROUTE-REFRESH."""
    enhanced_refresh: bool
    """Both mark a refresh's beginning and end."""
    graceful_restart: GracefulRestart | None
    """The peer's announcement, if both announced it."""
    capabilities: tuple[Capability, ...]
    """All that the peer announced."""

    @property
    def is_ibgp(self) -> bool:
        """Return whether the peer is in our own autonomous system."""
        return self.local_asn == self.remote_asn

    @property
    def max_message_bytes(self) -> int:
        """Longest message that either side may send."""
        return MAX_EXTENDED_MESSAGE_BYTES if self.extended_message else MAX_MESSAGE_BYTES


def negotiate(announced: Open, received: Open) -> Negotiated:
    """Return what our OPEN and the peer's agree on."""
    ours, theirs = announced.capabilities, received.capabilities

    def both(kind: type[C]) -> bool:
        return has(ours, kind) is not None and has(theirs, kind) is not None

    return Negotiated(
        local_asn=announced.asn,
        remote_asn=received.asn,
        remote_id=received.router_id,
        hold_time_s=min(announced.hold_time_s, received.hold_time_s),
        families=frozenset(families_of(ours) & families_of(theirs)),
        four_octet_as=both(FourOctetAs),
        extended_message=both(ExtendedMessage),
        route_refresh=both(RouteRefresh),
        enhanced_refresh=both(EnhancedRefresh) and both(RouteRefresh),
        graceful_restart=has(theirs, GracefulRestart) if both(GracefulRestart) else None,
        capabilities=theirs,
    )


def has(capabilities: tuple[Capability, ...], kind: type[C]) -> C | None:
    """Return the last capability of `kind`, or None."""
    return next((one for one in reversed(capabilities) if isinstance(one, kind)), None)


def families_of(capabilities: tuple[Capability, ...]) -> set[Family]:
    """Return the announced families; IPv4 unicast for a speaker that announces none."""
    named = {one.family for one in capabilities if isinstance(one, Multiprotocol)}
    return named or {IPV4_UNICAST}
