"""Attribute 10, CLUSTER_LIST: the route reflectors a route came through.

    4 octets, repeated  <->  tuple of IPv4Address

Standards   RFC 4456 s8; RFC 7606 s7.10
"""

from ipaddress import IPv4Address

from cairn.bgp.attribute.kind import OPTIONAL_NON_TRANSITIVE, AttributeKind, read_items
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader


def read_cluster_list(wire: Reader, negotiated: Negotiated) -> tuple[IPv4Address, ...]:
    """Read the clusters, the latest first."""
    return tuple(IPv4Address(item) for item in read_items(wire, 4))


def write_cluster_list(value: tuple[IPv4Address, ...], negotiated: Negotiated) -> bytes:
    """Return the clusters, in their order."""
    return b"".join(one.packed for one in value)


KIND = AttributeKind(
    code=10,
    name="CLUSTER_LIST",
    field="cluster_list",
    flags=OPTIONAL_NON_TRANSITIVE,
    read=read_cluster_list,
    write=write_cluster_list,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.OPTIONAL_ATTRIBUTE_ERROR,
    spec="RFC 4456 s8",
    ibgp_only=True,
)
