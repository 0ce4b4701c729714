"""What our OPEN offers a peer, and how it offers less to one that refuses.

    PeerConfig, what the peer refused so far  ->  Open

A router of old may answer a family or a capability that it does not know with a NOTIFICATION,
where RFC 5492 wants it passed over. The next OPEN then offers less, so that the peer has at least
the routes of its own family.

Standards   RFC 2858 s7, RFC 4724 s3, RFC 5492 s3, s5
"""

from dataclasses import replace
from enum import IntEnum
from ipaddress import IPv4Address

from cairn.bgp.capability.enhanced_refresh import EnhancedRefresh
from cairn.bgp.capability.extended_message import ExtendedMessage
from cairn.bgp.capability.four_octet_as import FourOctetAs
from cairn.bgp.capability.graceful_restart import GracefulRestart, PreservedFamily
from cairn.bgp.capability.multiprotocol import Multiprotocol
from cairn.bgp.capability.route_refresh import RouteRefresh
from cairn.bgp.capability.table import Capability
from cairn.bgp.config import PeerConfig
from cairn.bgp.error import ErrorCode, OpenError
from cairn.bgp.family import IPV4_UNICAST, IPV6_UNICAST
from cairn.bgp.message.notification import Notification
from cairn.bgp.message.open import Open
from cairn.net import Address

REFUSALS = (OpenError.UNSUPPORTED_CAPABILITY, OpenError.UNSUPPORTED_OPTIONAL_PARAMETER)


class Offer(IntEnum):
    """How much an OPEN offers."""

    EVERYTHING = 0
    OWN_FAMILY = 1
    """Of several families the one of the session's addresses."""
    NOTHING = 2
    """No optional parameter at all."""


def next_offer(offer: Offer, answer: Notification | None) -> Offer:
    """Return what to offer after a session ended with this answer of the peer."""
    if answer is None or answer.code != ErrorCode.OPEN_MESSAGE or answer.subcode not in REFUSALS:
        return offer
    return Offer((offer + 1) % len(Offer))


def make_open(
    config: PeerConfig, remote: Address, router_id: IPv4Address, offer: Offer, *, restarting: bool
) -> Open:
    """Return our OPEN to `remote`."""
    own = IPV4_UNICAST if remote.version == 4 else IPV6_UNICAST
    plain = Open(config.local_asn, config.hold_time_s, router_id, ())
    families = config.families
    if offer is Offer.NOTHING:
        return plain
    if offer is Offer.OWN_FAMILY and own in families:
        families = (own,)
    capabilities: list[Capability] = [Multiprotocol(one) for one in families]
    capabilities += [RouteRefresh(), EnhancedRefresh(), ExtendedMessage()]
    if config.graceful_restart_s is not None:
        # Our forwarding does outlive us: it is in the kernel, not in this process.
        kept = tuple(PreservedFamily(one, forwarding=True) for one in families)
        time_s = config.graceful_restart_s
        capabilities.append(GracefulRestart(time_s, kept, restarting=restarting))
    capabilities.append(FourOctetAs(config.local_asn))
    return replace(plain, capabilities=tuple(capabilities))
