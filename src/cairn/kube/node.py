"""A cluster node: where it is reached and which pods' addresses it holds.

    v1.Node, cilium.io CiliumNode  ->  Node, NodeFacts
    annotation cairn.io/ejected  <->  backends that their node found dead, and why

Standards   Kubernetes v1.Node; CiliumNode v2
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cairn.kube.metadata import Metadata, Object, metadata_of
from cairn.kube.service import addresses
from cairn.net import Address, L4Address, Network, parse_l4_address, parse_network

UPLINK_MAC = "cairn.io/uplink-mac"
"""Annotation of a CiliumNode: the Ethernet address that frames from this node carry."""
UPLINK = "cairn.io/uplink"
"""Annotation of a CiliumNode: the name of the interface that carries the node's addresses."""
UPLINK_NETWORKS = "cairn.io/uplink-networks"
"""Annotation of a CiliumNode: the subnets of these addresses, separated by commas."""
EJECTED = "cairn.io/ejected"
"""Annotation of a CiliumNode: backends of the node that do not serve. Entries as
"ADDRESS:PORT/PROTOCOL reason", sorted, separated by "; "."""
ZONE = "topology.kubernetes.io/zone"
"""Label of a node: where it stands."""

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Node:
    """One v1.Node."""

    metadata: Metadata
    """Names and labels."""
    internal_ips: tuple[Address, ...]
    """Addresses of type InternalIP."""
    pod_networks: tuple[Network, ...]
    """Networks its pods take addresses from."""
    ready: bool
    """Condition Ready."""

    @property
    def name(self) -> str:
        """The node's name."""
        return self.metadata.name

    @staticmethod
    def from_object(obj: Object) -> "Node":
        """Return the view of a v1.Node."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
        return Node(
            metadata=metadata_of(obj),
            internal_ips=addresses(
                entry.get("address") or ""
                for entry in status.get("addresses") or ()
                if entry.get("type") == "InternalIP"
            ),
            pod_networks=_networks(spec.get("podCIDRs") or [spec.get("podCIDR") or ""]),
            ready=conditions.get("Ready") == "True",
        )


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node's agent tells its peers, from its CiliumNode."""

    name: str
    """The node's name."""
    internal_ips: tuple[Address, ...]
    """Addresses of type InternalIP."""
    pod_networks: tuple[Network, ...]
    """Networks its pods take addresses from."""
    uplink_mac: str
    """Empty until its agent has said, and if what stands there is no Ethernet address."""
    zone: str = ""
    """Its zone, by the well-known label."""
    uplink: str = ""
    """Name of its uplink; empty until its agent has said."""
    uplink_networks: tuple[Network, ...] = ()
    """Subnets of its addresses on the uplink; likewise."""
    ejected: frozenset[L4Address] = frozenset()
    """Its backends that it found dead: nobody should use them."""

    @staticmethod
    def from_object(obj: Object) -> "NodeFacts":
        """Return the view of a CiliumNode."""
        spec = obj.get("spec") or {}
        metadata = metadata_of(obj)
        mac = metadata.annotations.get(UPLINK_MAC, "")
        return NodeFacts(
            name=metadata.name,
            internal_ips=addresses(
                entry.get("ip") or ""
                for entry in spec.get("addresses") or ()
                if entry.get("type") == "InternalIP"
            ),
            pod_networks=_networks((spec.get("ipam") or {}).get("podCIDRs") or ()),
            uplink_mac=mac if _MAC.fullmatch(mac) else "",
            zone=metadata.labels.get(ZONE, ""),
            uplink=metadata.annotations.get(UPLINK, ""),
            uplink_networks=_networks(metadata.annotations.get(UPLINK_NETWORKS, "").split(",")),
            ejected=frozenset(ejections_of(obj)),
        )


def ejections_of(obj: Object) -> dict[L4Address, str]:
    """Return the ejected backends of a CiliumNode with the reasons; what is none is left out."""
    found: dict[L4Address, str] = {}
    for entry in metadata_of(obj).annotations.get(EJECTED, "").split("; "):
        place, _, reason = entry.partition(" ")
        try:
            found[parse_l4_address(place)] = reason
        except ValueError:
            continue
    return found


def spell_ejections(ejected: Mapping[L4Address, str]) -> str:
    """Return the text that `ejections_of` reads."""
    ordered = sorted(ejected.items(), key=lambda item: item[0].sort_key())
    return "; ".join(f"{where} {reason.replace(';', ',')}" for where, reason in ordered)


def _networks(texts: list[str] | tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks among `texts`; what does not parse is left out, as with addresses."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(parse_network(text, strict=False))
        except ValueError:
            continue
    return tuple(found)
