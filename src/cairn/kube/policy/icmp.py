"""Types of ICMP messages, by number or by Cilium's name.

    {type, family}  ->  IcmpMatch, or InvalidPolicy

Standards   IANA ICMP Type Numbers, ICMPv6 "type" Numbers; cilium.io/v2 ICMPField
"""

from cairn.kube.policy.field import choice, fields, number, show
from cairn.kube.policy.rule import IcmpMatch, InvalidPolicy

FAMILIES = {"IPv4": 4, "IPv6": 6}

TYPES = {
    4: {
        "EchoReply": 0,
        "DestinationUnreachable": 3,
        "Redirect": 5,
        "Echo": 8,
        "EchoRequest": 8,
        "RouterAdvertisement": 9,
        "RouterSelection": 10,
        "TimeExceeded": 11,
        "ParameterProblem": 12,
        "Timestamp": 13,
        "TimestampReply": 14,
        "Photuris": 40,
        "ExtendedEchoRequest": 42,
        "ExtendedEchoReply": 43,
    },
    6: {
        "DestinationUnreachable": 1,
        "PacketTooBig": 2,
        "TimeExceeded": 3,
        "ParameterProblem": 4,
        "EchoRequest": 128,
        "EchoReply": 129,
        "MulticastListenerQuery": 130,
        "MulticastListenerReport": 131,
        "MulticastListenerDone": 132,
        "RouterSolicitation": 133,
        "RouterAdvertisement": 134,
        "NeighborSolicitation": 135,
        "NeighborAdvertisement": 136,
        "RedirectMessage": 137,
        "RouterRenumbering": 138,
        "ICMPNodeInformationQuery": 139,
        "ICMPNodeInformationResponse": 140,
        "InverseNeighborDiscoverySolicitation": 141,
        "InverseNeighborDiscoveryAdvertisement": 142,
        "HomeAgentAddressDiscoveryRequest": 144,
        "HomeAgentAddressDiscoveryReply": 145,
        "MobilePrefixSolicitation": 146,
        "MobilePrefixAdvertisement": 147,
        "DuplicateAddressRequestCodeSuffix": 157,
        "DuplicateAddressConfirmationCodeSuffix": 158,
        "ExtendedEchoRequest": 160,
        "ExtendedEchoReply": 161,
    },
}
"""Number of each name, by family."""


def read_icmp(raw: object, path: str) -> IcmpMatch:
    """Return the type of message that an item of `icmps[].fields` names."""
    found = fields(raw, path, frozenset({"type", "family"}))
    word = choice(found.get("family", "IPv4"), f"{path}.family", tuple(FAMILIES))
    family = FAMILIES[word]
    kind = found.get("type")
    where = f"{path}.type"
    if not isinstance(kind, str):
        return IcmpMatch(family, number(kind, where, 0, 255))
    if kind in TYPES[family]:
        return IcmpMatch(family, TYPES[family][kind])
    if kind.isascii() and kind.isdecimal() and len(kind) <= 3 and int(kind) <= 255:
        return IcmpMatch(family, int(kind))
    names = ", ".join(TYPES[family])
    raise InvalidPolicy(where, f"{show(kind)} is no message of {word}: 0 to 255, {names}")
