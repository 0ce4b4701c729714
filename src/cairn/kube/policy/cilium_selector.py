"""Cilium's selectors of endpoints and nodes, turned into selectors over flat labels.

    matchLabels, matchExpressions with keys as k8s:app, any:app, reserved:host  ->  Selector

Invariants  In a policy of a namespace, a selector that names none means that namespace, unless it
            is about reserved groups.
Standards   cilium.io/v2 EndpointSelector, label sources
"""

from cairn.kube.policy.field import selector, show
from cairn.kube.policy.network_policy import NAME_LABEL, in_namespace
from cairn.kube.policy.rule import (
    NAMESPACE,
    NAMESPACE_LABEL,
    RESERVED,
    InvalidPolicy,
)
from cairn.kube.selector import Operator, Selector

ENTITIES = (
    "all",
    "world",
    "world-ipv4",
    "world-ipv6",
    "cluster",
    "host",
    "remote-node",
    "kube-apiserver",
    "ingress",
    "init",
    "health",
    "unmanaged",
    "none",
)
"""The well-known groups."""

_GROUPS = tuple(word for word in ENTITIES if word not in ("all", "cluster", "none"))
_PLAIN = ("k8s", "any", "")


def peer_selector(raw: object, path: str, namespace: str) -> Selector:
    """Return the selector of a peer; `namespace` is "" for policies of the cluster."""
    chosen = selector(raw, path, _endpoint_key)
    if not namespace or any(_says_where(each.key) for each in chosen.requirements):
        return chosen
    return in_namespace(chosen, namespace)


def subject_selector(raw: object, path: str, namespace: str) -> Selector:
    """Return the selector of the pods that a policy is about: of its namespace only."""
    chosen = selector(raw, path, _endpoint_key)
    if not namespace:
        return chosen
    for each in chosen.requirements:
        if each.key != NAMESPACE:
            continue
        if each.operator is Operator.IN and each.values == {namespace}:
            continue
        raise InvalidPolicy(
            path,
            f"a policy of namespace {namespace} is about pods of that namespace only: leave "
            f"{NAMESPACE} out, or write a CiliumClusterwideNetworkPolicy",
        )
    return in_namespace(chosen, namespace)


def node_selector(raw: object, path: str) -> Selector:
    """Return a selector over the labels of Node objects."""
    return selector(raw, path, _node_key)


def object_selector(raw: object, path: str) -> Selector:
    """Return a selector over the labels of objects of the API: Services, CIDR groups."""
    return selector(raw, path, _object_key)


def reserved_of(chosen: Selector) -> tuple[str, ...]:
    """Return the reserved groups that a selector names."""
    keys = (each.key for each in chosen.requirements)
    return tuple(key.removeprefix(RESERVED) for key in keys if key.startswith(RESERVED))


def _says_where(key: str) -> bool:
    return key == NAMESPACE or key.startswith((NAMESPACE_LABEL, RESERVED))


def _endpoint_key(key: str, path: str) -> str:
    source, colon, name = key.rpartition(":")
    if source == "reserved":
        if name not in _GROUPS:
            raise InvalidPolicy(
                path, f"reserved group {show(name)} is unknown; known here: {', '.join(_GROUPS)}"
            )
        return key
    if source not in _PLAIN or (colon and not source):
        raise InvalidPolicy(
            path, f"{show(key)}: label source {show(source)} is unknown: k8s, any or reserved"
        )
    return NAMESPACE if name == NAMESPACE_LABEL + NAME_LABEL else name


def _node_key(key: str, path: str) -> str:
    source, _, name = key.rpartition(":")
    if source not in (*_PLAIN, "node"):
        raise InvalidPolicy(
            path, f"{show(key)}: label source {show(source)} is unknown: k8s, any or node"
        )
    return name


def _object_key(key: str, path: str) -> str:
    source, _, name = key.rpartition(":")
    if source not in _PLAIN:
        raise InvalidPolicy(
            path, f"{show(key)}: label source {show(source)} is unknown: k8s or any"
        )
    return name
