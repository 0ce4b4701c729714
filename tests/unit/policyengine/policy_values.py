"""Short spellings of what the engine takes in, for tests."""

from collections.abc import Mapping

from cairn.kube.cidr_group import CidrGroup
from cairn.kube.endpoint_slice import EndpointSlice, EndpointState
from cairn.kube.metadata import Key, Metadata
from cairn.kube.policy.rule import (
    NAMESPACE,
    Action,
    CidrPeer,
    Direction,
    Match,
    Peer,
    Policy,
    PolicyRef,
    PortMatch,
    Rule,
)
from cairn.kube.policy.workload import NamedPort, Workload
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.kube.service import Service
from cairn.net import Protocol, parse_address, parse_network

IN, OUT = Direction.INGRESS, Direction.EGRESS
BOTH = frozenset(Direction)
ALLOW, DENY, PASS = Action.ALLOW, Action.DENY, Action.PASS


def selector(**labels: str) -> Selector:
    """Return the selector of exactly these values."""
    return Selector(
        tuple(Requirement(k, Operator.IN, frozenset({v})) for k, v in sorted(labels.items()))
    )


def in_namespace(namespace: str, **labels: str) -> Selector:
    """Return the selector of pods of one namespace."""
    own = Requirement(NAMESPACE, Operator.IN, frozenset({namespace}))
    return Selector((own, *selector(**labels).requirements))


def named(key: str) -> Selector:
    """Return the selector of whatever has a key."""
    return Selector((Requirement(key, Operator.EXISTS),))


def pod(
    name: str,
    *addresses: str,
    node: str = "node-1",
    ports: tuple[tuple[str, Protocol, int], ...] = (),
    host_network: bool = False,
    labels: Mapping[str, str] | None = None,
    **more: str,
) -> Workload:
    """Return a pod: `namespace/name`, in `default` without a namespace."""
    namespace, _, own = name.rpartition("/")
    return Workload(
        key=Key(namespace or "default", own),
        labels={**(labels or {}), **more},
        service_account="",
        node=node,
        addresses=tuple(map(parse_address, addresses)),
        ports=tuple(sorted(NamedPort(*port) for port in ports)),
        host_network=host_network,
    )


def rule(
    direction: Direction,
    *peers: Peer,
    action: Action = ALLOW,
    ports: tuple[Match, ...] = (),
    path: str = "",
    **more: object,
) -> Rule:
    """Return a rule."""
    return Rule(
        path=path or f"{direction.value}[0]",
        direction=direction,
        action=action,
        peers=peers,
        matches=ports,
        **more,  # type: ignore[arg-type]
    )


def policy(
    name: str,
    subject: Selector | None,
    *rules: Rule,
    isolates: frozenset[Direction] = BOTH,
    **more: object,
) -> Policy:
    """Return a policy of the normal tier that isolates in both directions."""
    return Policy(
        ref=PolicyRef("NetworkPolicy", "default", name),
        uid=name,
        subject=subject,
        isolates=isolates,
        rules=tuple(rules),
        **more,  # type: ignore[arg-type]
    )


def tcp(first: int, last: int | None = None) -> PortMatch:
    """Return a match of TCP ports."""
    return PortMatch(Protocol.TCP, first, last or first)


def cidr(network: str, *excepts: str, inside: bool = False) -> CidrPeer:
    """Return a peer by network."""
    return CidrPeer(parse_network(network), tuple(map(parse_network, excepts)), inside)


def metadata(name: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> Metadata:
    """Return metadata."""
    return Metadata(namespace, name, "", labels or {}, {}, 0, "", deleting=False)


def group(name: str, *networks: str, **labels: str) -> CidrGroup:
    """Return a group of networks."""
    return CidrGroup(
        metadata(name, labels=labels),
        denies=False,
        networks=tuple(map(parse_network, networks)),
        unreadable=(),
    )


def service(name: str, namespace: str = "default", **selects: str) -> Service:
    """Return a Service that selects pods, or none."""
    raw = {
        "metadata": {"name": name, "namespace": namespace, "labels": {"service": name}},
        "spec": {"selector": selects, "ports": []},
    }
    return Service.from_object(raw)


def slice_of(name: str, *addresses: str, namespace: str = "default") -> EndpointSlice:
    """Return the slice of a Service's endpoints."""
    state = EndpointState("", ready=True, serving=True, terminating=False)
    found = tuple(map(parse_address, addresses))
    return EndpointSlice(Key(namespace, name), (), found, (state,) * len(found))
