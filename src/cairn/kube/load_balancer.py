"""What a Service asks of LB-IPAM, and which addresses its status records.

    Service object  ->  LoadBalancer(families, requested, sharing, held)

Invariants  An address that cannot be read is kept as text, so that a condition can quote it.
Standards   Kubernetes v1.Service; Cilium LB-IPAM annotations
Not here    What a Service asks of the data plane (service.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cairn.kube.metadata import Metadata, Object, metadata_of
from cairn.net import Address, parse_address

HANDLED_CLASSES = frozenset(
    {"", "io.cilium/bgp-control-plane", "io.cilium/l2-announcer", "cairn.io/lb"}
)
REQUEST_ANNOTATIONS = ("lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips")
SHARING_KEYS = ("lbipam.cilium.io/sharing-key", "io.cilium/lb-ipam-sharing-key")
SHARING_NAMESPACES = (
    "lbipam.cilium.io/sharing-cross-namespace",
    "io.cilium/lb-ipam-sharing-cross-namespace",
)
SATISFIED = "cilium.io/IPAMRequestSatisfied"
NAMESPACE_LABEL = "io.kubernetes.service.namespace"
NAME_LABEL = "io.kubernetes.service.name"


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """One Service as LB-IPAM sees it."""

    metadata: Metadata
    """Names, labels and age."""
    handled: bool
    """Whether it is a LoadBalancer of a class that Cairn serves."""
    foreign: bool
    """Whether it is a LoadBalancer of somebody else's class: hands off."""
    families: tuple[int, ...]
    """IP versions it wants, the leading one first."""
    optional: frozenset[int]
    """Versions without which it is content if it has another (PreferDualStack)."""
    declined: tuple[int, ...]
    """Versions that PreferDualStack would like and spec.ipFamilies leaves out."""
    together: bool
    """Whether it wants its first addresses of all families at once (RequireDualStack)."""
    requested: tuple[Address, ...]
    """Addresses it asks for by name."""
    unreadable: tuple[str, ...]
    """Requests that are no addresses."""
    sharing_key: str
    """Services of one key may share an address; empty: it shares with none."""
    sharing_namespaces: frozenset[str]
    """Other namespaces it shares with; "*" is all."""
    ports: frozenset[tuple[str, int]]
    """Protocol and port, which sharers must not have in common."""
    local: bool
    """externalTrafficPolicy: Local."""
    pods: tuple[tuple[str, str], ...]
    """Its pod selector, sorted."""
    held: tuple[Address, ...]
    """Addresses of its status: the record of what it was given."""
    condition: Mapping[str, Any] | None
    """Its IPAMRequestSatisfied condition as it stands."""

    @property
    def order(self) -> tuple[str, str, str]:
        """Return the key of age: who is older goes first."""
        return (self.metadata.created, self.metadata.namespace, self.metadata.name)

    @property
    def selectable(self) -> Mapping[str, str]:
        """Return the labels that a pool's serviceSelector sees, the two special keys included."""
        return {
            **self.metadata.labels,
            NAMESPACE_LABEL: self.metadata.namespace,
            NAME_LABEL: self.metadata.name,
        }


def load_balancer_of(obj: Object) -> LoadBalancer:
    """Return the view of a raw Service."""
    metadata, spec, status = metadata_of(obj), obj.get("spec") or {}, obj.get("status") or {}
    balancing = spec.get("type") == "LoadBalancer" and not metadata.deleting
    handled = balancing and (spec.get("loadBalancerClass") or "") in HANDLED_CLASSES
    requested, unreadable = _requested(metadata.annotations, spec)
    families = _families(spec)
    prefer = spec.get("ipFamilyPolicy") == "PreferDualStack"
    missing = tuple(version for version in (4, 6) if version not in families)
    return LoadBalancer(
        metadata=metadata,
        handled=handled,
        foreign=balancing and not handled,
        families=families,
        optional=frozenset(families) if prefer else frozenset(),
        declined=missing if prefer else (),
        together=spec.get("ipFamilyPolicy") == "RequireDualStack",
        requested=requested,
        unreadable=unreadable,
        sharing_key=_annotation(metadata.annotations, SHARING_KEYS),
        sharing_namespaces=frozenset(_words(_annotation(metadata.annotations, SHARING_NAMESPACES))),
        ports=frozenset(
            (port.get("protocol") or "TCP", int(port.get("port") or 0))
            for port in spec.get("ports") or ()
        ),
        local=spec.get("externalTrafficPolicy") == "Local",
        pods=tuple(sorted((spec.get("selector") or {}).items())),
        held=_held(status),
        condition=_condition(status),
    )


def _annotation(annotations: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((annotations[name] for name in names if annotations.get(name)), "")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _requested(
    annotations: Mapping[str, str], spec: Mapping[str, Any]
) -> tuple[tuple[Address, ...], tuple[str, ...]]:
    words = _words(_annotation(annotations, REQUEST_ANNOTATIONS))
    words = words or _words(spec.get("loadBalancerIP") or "")
    good: dict[Address, None] = {}
    bad: list[str] = []
    for word in words:
        try:
            good[parse_address(word)] = None
        except ValueError:
            bad.append(word)
    return tuple(good), tuple(bad)


def _families(spec: Mapping[str, Any]) -> tuple[int, ...]:
    """Return what spec.ipFamilies says; the API server fills it in with what the cluster has."""
    named = dict.fromkeys(6 if name == "IPv6" else 4 for name in spec.get("ipFamilies") or ())
    policy = spec.get("ipFamilyPolicy")
    if policy == "RequireDualStack" or (policy == "PreferDualStack" and not named):
        return tuple(dict.fromkeys([*named, 4, 6]))
    return tuple(named) or (4,)


def _held(status: Mapping[str, Any]) -> tuple[Address, ...]:
    held: list[Address] = []
    for ingress in (status.get("loadBalancer") or {}).get("ingress") or ():
        try:
            held.append(parse_address(ingress.get("ip") or ""))
        except ValueError:
            continue  # a host name: another provider's, and not an address of ours
    return tuple(held)


def _condition(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == SATISFIED:
            return dict(condition)
    return None
