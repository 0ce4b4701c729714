"""NetworkPolicy of Kubernetes, read whole.

    networking.k8s.io/v1 NetworkPolicy  ->  Policy, or InvalidPolicy

Invariants  A policy that closes egress allows the pod's own node, as the API's text says.
            Rules of a direction that policyTypes does not name are read, checked and not in force.
Standards   Kubernetes networking.k8s.io/v1 NetworkPolicySpec; KEP-2079 (endPort)
"""

from sys import intern

from cairn.kube.finding import Finding
from cairn.kube.metadata import Object, metadata_of
from cairn.kube.policy.field import (
    Fields,
    Notes,
    choice,
    fields,
    items,
    network,
    networks,
    selector,
)
from cairn.kube.policy.mode import mode_of
from cairn.kube.policy.port import port_range
from cairn.kube.policy.rule import (
    NAMESPACE,
    NAMESPACE_LABEL,
    Action,
    CidrPeer,
    Direction,
    EntityPeer,
    InvalidPolicy,
    LabelPeer,
    Peer,
    Policy,
    PolicyRef,
    PortMatch,
    Rule,
)
from cairn.kube.policy.share import share
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.net import Protocol

KIND = "NetworkPolicy"
NAME_LABEL = "kubernetes.io/metadata.name"
"""Label that the API server gives every namespace: its name."""

OWN_NODE = Rule(
    "implied.host", Direction.EGRESS, Action.ALLOW, peers=(EntityPeer("host"),), implied=True
)
"""What a policy that closes egress lets through all the same."""

_SPEC = frozenset({"podSelector", "policyTypes", "ingress", "egress"})
_PEER = frozenset({"podSelector", "namespaceSelector", "ipBlock"})
_PORT = frozenset({"port", "endPort", "protocol"})
_SIDES = ((Direction.INGRESS, "from"), (Direction.EGRESS, "to"))
_PROTOCOLS = tuple(protocol.name for protocol in Protocol)


def read_network_policy(obj: Object) -> Policy:
    """Return the policy; raises InvalidPolicy."""
    metadata, mode = metadata_of(obj), mode_of(metadata_of(obj))
    spec = fields(obj.get("spec", {}), "spec", _SPEC)
    namespace = metadata.namespace or "default"
    isolates = _isolates(spec)
    rules: list[Rule] = []
    findings: Notes = list(mode.findings)
    for direction, word in _SIDES:
        read = _rules(spec, direction, word, namespace, findings)
        if direction in isolates:
            rules += read
        elif read:
            text = f"spec.{direction.value} is not in force: policyTypes does not name it; add it"
            findings.append(Finding("PolicyTypeMissing", text))
    if Direction.EGRESS in isolates:
        rules.append(OWN_NODE)
    return Policy(
        ref=PolicyRef(KIND, namespace, metadata.name),
        uid=metadata.uid,
        subject=in_namespace(selector(spec.get("podSelector", {}), "spec.podSelector"), namespace),
        isolates=isolates,
        rules=tuple(rules),
        audit=mode.audit,
        disabled=mode.disabled,
        findings=tuple(findings),
    )


def in_namespace(pods: Selector, namespace: str) -> Selector:
    """Return the selector, of pods in one namespace."""
    home = share(Requirement(NAMESPACE, Operator.IN, frozenset({namespace})))
    return Selector((home, *pods.requirements))


def of_namespaces(chosen: Selector) -> tuple[Requirement, ...]:
    """Return what a selector of namespaces demands of the flat labels of their pods."""
    return tuple(
        share(
            Requirement(
                NAMESPACE if each.key == NAME_LABEL else NAMESPACE_LABEL + each.key,
                each.operator,
                each.values,
            )
        )
        for each in chosen.requirements
    )


def _isolates(spec: Fields) -> frozenset[Direction]:
    words = items(spec.get("policyTypes"), "spec.policyTypes")
    if words:
        return frozenset(
            Direction(choice(word, f"spec.policyTypes[{place}]", ("Ingress", "Egress")).lower())
            for place, word in enumerate(words)
        )
    if spec.get("egress"):
        return frozenset(Direction)
    return frozenset({Direction.INGRESS})


def _rules(
    spec: Fields, direction: Direction, word: str, namespace: str, notes: Notes
) -> list[Rule]:
    rules = []
    side = direction.value
    for place, raw in enumerate(items(spec.get(side), f"spec.{side}")):
        path = f"spec.{side}[{place}]"
        found = fields(raw, path, frozenset({word, "ports"}))
        peers = tuple(
            _peer(peer, f"{path}.{word}[{number}]", namespace, notes)
            for number, peer in enumerate(items(found.get(word), f"{path}.{word}"))
        )
        matches = tuple(
            _port(port, f"{path}.ports[{number}]")
            for number, port in enumerate(items(found.get("ports"), f"{path}.ports"))
        )
        rules.append(Rule(intern(f"{side}[{place}]"), direction, Action.ALLOW, peers, matches))
    return rules


def _peer(raw: object, path: str, namespace: str, notes: Notes) -> Peer:
    found = fields(raw, path, _PEER)
    if not found:
        raise InvalidPolicy(path, "is empty: write podSelector, namespaceSelector or ipBlock")
    if "ipBlock" in found:
        if len(found) > 1:
            raise InvalidPolicy(path, "ipBlock stands alone: write the selectors as another item")
        return _block(found["ipBlock"], f"{path}.ipBlock", notes)
    pods = selector(found.get("podSelector", {}), f"{path}.podSelector")
    if "namespaceSelector" not in found:
        return LabelPeer(in_namespace(pods, namespace))
    chosen = selector(found["namespaceSelector"], f"{path}.namespaceSelector")
    return LabelPeer(Selector((*of_namespaces(chosen), *pods.requirements)))


def _block(raw: object, path: str, notes: Notes) -> CidrPeer:
    found = fields(raw, path, frozenset({"cidr", "except"}))
    whole = network(found.get("cidr"), f"{path}.cidr", notes)
    excepts = networks(found.get("except"), f"{path}.except", notes, whole)
    return CidrPeer(whole, excepts, inside=True)


def _port(raw: object, path: str) -> PortMatch:
    found = fields(raw, path, _PORT)
    word = choice(found.get("protocol", "TCP"), f"{path}.protocol", _PROTOCOLS)
    protocol = Protocol[word]
    if "port" not in found:
        if "endPort" in found:
            raise InvalidPolicy(f"{path}.endPort", "needs port, where the range begins")
        return PortMatch(protocol)
    return port_range(found["port"], found.get("endPort"), protocol, path)
