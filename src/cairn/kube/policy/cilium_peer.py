"""The other end of a Cilium rule: who it is about.

    fromEndpoints, toCIDRSet, toEntities…  ->  peers; None: no such field is set

Invariants  A list that is set and empty means nobody. One rule names one kind of peers.
Standards   cilium.io/v2 IngressCommonRule, EgressCommonRule, CIDRRule, Service
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cairn.kube.policy.cilium_selector import (
    ENTITIES,
    node_selector,
    object_selector,
    peer_selector,
)
from cairn.kube.policy.field import (
    Fields,
    Notes,
    choice,
    fields,
    items,
    network,
    networks,
    show,
    text,
)
from cairn.kube.policy.fqdn import read_fqdn
from cairn.kube.policy.rule import (
    CidrPeer,
    EntityPeer,
    FqdnPeer,
    GroupPeer,
    InvalidPolicy,
    LabelPeer,
    NodePeer,
    Peer,
    ServicePeer,
)
from cairn.net import Network

_CIDR_RULE = frozenset({"cidr", "except", "cidrGroupRef", "cidrGroupSelector"})
_SERVICE = frozenset({"k8sService", "k8sServiceSelector"})


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a rule stands."""

    namespace: str
    """Of its policy; "" for policies of the cluster."""
    notes: Notes = field(default_factory=list)
    """What its author should know."""


Reader = Callable[[object, str, Scope], Peer]


def read_peers(found: Fields, path: str, word: str, scope: Scope) -> tuple[Peer, ...] | None:
    """Return the peers of one rule; `word` is `from` or `to`."""
    present = [name for kind in KINDS if (name := f"{word}{kind}") in found]
    filled = [name for name in present if items(found[name], f"{path}.{name}")]
    if len(filled) > 1:
        raise InvalidPolicy(
            path,
            f"{filled[0]} and {filled[1]} stand in one rule: write a rule for each",
        )
    if not present:
        return None
    return tuple(
        KINDS[name.removeprefix(word)](raw, f"{path}.{name}[{place}]", scope)
        for name in filled
        for place, raw in enumerate(found[name])
    )


def _endpoints(raw: object, path: str, scope: Scope) -> Peer:
    return LabelPeer(peer_selector(raw, path, scope.namespace))


def _nodes(raw: object, path: str, scope: Scope) -> Peer:
    return NodePeer(node_selector(raw, path))


def _entity(raw: object, path: str, scope: Scope) -> Peer:
    return EntityPeer(choice(raw, path, ENTITIES))


def _cidr(raw: object, path: str, scope: Scope) -> Peer:
    return CidrPeer(network(raw, path, scope.notes, bare=True))


def _cidr_rule(raw: object, path: str, scope: Scope) -> Peer:
    found = fields(raw, path, _CIDR_RULE)
    which = sorted(found.keys() - {"except"})
    if len(which) != 1:
        raise InvalidPolicy(path, "needs one of cidr, cidrGroupRef and cidrGroupSelector")
    where = f"{path}.{which[0]}"
    if "cidr" in found:
        whole = network(found["cidr"], where, scope.notes, bare=True)
        return CidrPeer(whole, networks(found.get("except"), f"{path}.except", scope.notes, whole))
    excepts = _excepts(found.get("except"), f"{path}.except", scope)
    if "cidrGroupRef" in found:
        return GroupPeer(name=text(found["cidrGroupRef"], where), excepts=excepts)
    return GroupPeer(selector=object_selector(found["cidrGroupSelector"], where), excepts=excepts)


def _excepts(raw: object, path: str, scope: Scope) -> tuple[Network, ...]:
    return tuple(
        network(item, f"{path}[{place}]", scope.notes, bare=True)
        for place, item in enumerate(items(raw, path))
    )


def _service(raw: object, path: str, scope: Scope) -> Peer:
    found = fields(raw, path, _SERVICE)
    if len(found) != 1:
        raise InvalidPolicy(path, "needs k8sService or k8sServiceSelector, and not both")
    if "k8sService" in found:
        where = f"{path}.k8sService"
        named = fields(found["k8sService"], where, frozenset({"serviceName", "namespace"}))
        name = text(named.get("serviceName"), f"{where}.serviceName")
        namespace = _namespace(named, where) or scope.namespace
        if not namespace:
            raise InvalidPolicy(f"{where}.namespace", "is missing: a Service has a namespace")
        return ServicePeer(namespace, name)
    where = f"{path}.k8sServiceSelector"
    chosen = fields(found["k8sServiceSelector"], where, frozenset({"selector", "namespace"}))
    if "selector" not in chosen:
        raise InvalidPolicy(f"{where}.selector", "is missing: write which Services are meant")
    namespace = _namespace(chosen, where) or scope.namespace
    return ServicePeer(namespace, selector=object_selector(chosen["selector"], f"{where}.selector"))


def _namespace(found: Fields, path: str) -> str:
    raw = found.get("namespace", "")
    if not isinstance(raw, str):
        raise InvalidPolicy(f"{path}.namespace", f"{show(raw)} is not a text")
    return raw


def _name(raw: object, path: str, scope: Scope) -> Peer:
    return FqdnPeer(*read_fqdn(raw, path))


def _group(raw: object, path: str, scope: Scope) -> Peer:
    raise InvalidPolicy(
        path, "groups of a cloud provider are not known here: write the networks in a CIDRSet"
    )


KINDS: Mapping[str, Reader] = {
    "Endpoints": _endpoints,
    "Nodes": _nodes,
    "Entities": _entity,
    "CIDR": _cidr,
    "CIDRSet": _cidr_rule,
    "Services": _service,
    "FQDNs": _name,
    "Groups": _group,
}
"""What may follow `from` or `to` in a field's name."""
