"""Fields that do nothing in this version, or less than they say.

object  ->  (reason, sentence) per field
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cairn.kube.bgp_node_config import CONNECT_RETRY_LIMIT_S
from cairn.kube.cidr_group import DENY, CidrGroup
from cairn.kube.metadata import Object
from cairn.kube.service import (
    ANNOUNCE,
    HEALTH_CHECK,
    MOST_PER_S,
    SOURCE_RATE,
    WEIGHTED,
    source_rate_of,
)

Found = Iterator[tuple[str, str]]

_READ = frozenset(
    {
        ANNOUNCE,
        HEALTH_CHECK,
        WEIGHTED,
        SOURCE_RATE,
        "io.cilium/lb-ipam-ips",
        "io.cilium/lb-ipam-sharing-key",
        "io.cilium/lb-ipam-sharing-cross-namespace",
        "lbipam.cilium.io/ips",
        "lbipam.cilium.io/sharing-key",
        "lbipam.cilium.io/sharing-cross-namespace",
    }
)
# Domains of annotations that ask a load balancer for something.
_ASKING = (
    "cairn.io/",
    "io.cilium/",
    "lbipam.cilium.io/",
    "service.cilium.io/",
    "metallb.universe.tf/",
    "metallb.io/",
    "kube-vip.io/",
    "service.kubernetes.io/topology-",
)


def fields_of_service(obj: Object) -> Found:
    """Find fields of a Service that its author wrote in vain."""
    spec = obj["spec"]
    for port in spec.get("ports") or ():
        number, target = port["port"], port.get("targetPort")
        if port.get("protocol") != "SCTP":
            continue
        if target not in (None, number):
            yield (
                "PortNotTranslated",
                f"port {number}/SCTP leads to targetPort {target}, but SCTP's checksum covers the "
                "ports, which are not rewritten: packets to it are dropped; write one number for "
                "both",
            )
        elif spec.get("type") == "NodePort" and port.get("nodePort"):
            yield (
                "PortNotTranslated",
                f"nodePort {port['nodePort']}/SCTP is not served, for SCTP's checksum covers the "
                f"ports, which are not rewritten: connect to port {number} of the cluster IP",
            )


def rate_of_service(obj: Object) -> Found:
    """Find a rate per source that is not, or not wholly, enforced."""
    text = (obj["metadata"].get("annotations") or {}).get(SOURCE_RATE)
    if text is None:
        return
    if source_rate_of(obj) is None:
        yield (
            "SourceRateNotRead",
            f"annotation {SOURCE_RATE}={text} limits nothing: write a whole number of connections "
            f"a second, 1 to {MOST_PER_S}",
        )
        return
    for port in obj["spec"].get("ports") or ():
        if port.get("protocol") == "SCTP":
            yield (
                "SourceRateNotEnforced",
                f"annotation {SOURCE_RATE}={text} does not limit port {port['port']}/SCTP: only "
                "TCP connections and UDP datagrams are counted; filter on the router",
            )


def entries_of_deny_list(obj: Object) -> Found:
    """Find networks of a CiliumCIDRGroup that nobody reads, and a deny list that is none."""
    group = CidrGroup.from_object(obj)
    value = group.metadata.annotations.get(DENY)
    if value not in (None, "true", "false"):
        yield "GroupNotDenied", f"annotation {DENY}={value} denies nothing: write {DENY}=true"
    for text in group.unreadable:
        if group.denies:
            what = "NetworkNotDenied", "what comes from there is let in"
        else:
            what = "NetworkNotRead", "no policy that names the group means it"
        yield what[0], f"spec.externalCIDRs: {text}: {what[1]}"


def annotations_of_service(obj: Object) -> Found:
    """Find annotations that ask for what nobody gives."""
    for name, value in (obj["metadata"].get("annotations") or {}).items():
        if name == ANNOUNCE and value != "all-nodes":
            yield (
                "AnnotationNotRead",
                f"annotation {ANNOUNCE}={value} changes nothing; the only value is all-nodes",
            )
        elif name == WEIGHTED and value not in ("true", "false"):
            yield (
                "AnnotationNotRead",
                f"annotation {WEIGHTED}={value} changes nothing; the values are true and false",
            )
        elif name.startswith(_ASKING) and name not in _READ:
            yield (
                "AnnotationNotRead",
                f"annotation {name} is not known to Cairn and changes nothing; an address is asked "
                "for with lbipam.cilium.io/ips",
            )


def fields_of_pod(obj: Object) -> Found:
    """Find what a pod asks of its network in vain."""
    for name in obj["metadata"].get("annotations") or {}:
        if name in ("kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"):
            yield (
                "BandwidthNotLimited",
                f"annotation {name} is not honoured: this version limits no bandwidth",
            )


def fields_of_peering(obj: Object) -> Found:
    """Find fields of a CiliumBGPPeeringPolicy that nodes do not follow."""
    routers = obj["spec"].get("virtualRouters") or ()
    if len(routers) > 1:
        yield (
            "OneRouterPerNode",
            f"spec.virtualRouters has {len(routers)} items, but a node of this version announces "
            "all addresses to all neighbors: the items' serviceSelectors are not kept apart; write "
            "one policy per set of nodes",
        )
    for place, router in enumerate(routers):
        where = f"spec.virtualRouters[{place}]"
        others = [s for s in router.get("serviceAdvertisements") or () if s != "LoadBalancerIP"]
        if others:
            yield (
                "AdvertisementNotRead",
                f"{where}.serviceAdvertisements: {', '.join(others)} is not announced by this "
                "version, LoadBalancerIP alone is",
            )
        if router.get("podIPPoolSelector") is not None:
            yield (
                "PodPoolNotRead",
                f"{where}.podIPPoolSelector announces nothing: this version has no pod pools; "
                "exportPodCIDR: true announces each node's pods",
            )
        for number, neighbor in enumerate(router.get("neighbors") or ()):
            yield from _neighbor(neighbor, f"{where}.neighbors[{number}]")


def retry_of_peering(obj: Object) -> Found:
    """Find waits between attempts to connect that are longer than a node waits."""
    for router in obj["spec"].get("virtualRouters") or ():
        for neighbor in router.get("neighbors") or ():
            if (wait_s := neighbor.get("connectRetryTimeSeconds") or 0) > CONNECT_RETRY_LIMIT_S:
                yield (
                    "RetriedSooner",
                    f"connectRetryTimeSeconds {wait_s}: a node tries again after "
                    f"{CONNECT_RETRY_LIMIT_S} s at the latest, so that a router that comes back "
                    "is found at once",
                )


def _neighbor(neighbor: Mapping[str, Any], where: str) -> Found:
    if neighbor.get("advertisedPathAttributes"):
        yield (
            "AttributesNotSent",
            f"{where}.advertisedPathAttributes is not honoured: this version sends no communities "
            "and the ordinary local preference; set them on the router",
        )
    asked = [f"{f.get('afi')} {f.get('safi')}" for f in neighbor.get("families") or ()]
    others = [family for family in asked if family not in ("ipv4 unicast", "ipv6 unicast")]
    if others:
        yield (
            "FamilyNotNegotiated",
            f"{where}.families: {', '.join(others)} is not negotiated: sessions of this version "
            "carry ipv4 unicast and ipv6 unicast",
        )
