"""What a network policy says, whatever language it is written in.

    one object  ->  Policy(subject, isolates, rules)

All selection of pods, namespaces, service accounts and reserved groups is by Selector over one
flat mapping of labels, that of `workload_labels`: so one index serves every language.

Invariants  Every condition of the object is in the Policy, or it was refused: nothing that a
            Policy allows was not written.
            An empty `peers` or `matches` matches anything; where a written list that is empty means
            nothing at all, the reader leaves the Rule out.
Standards   networking.k8s.io/v1 NetworkPolicy, policy.networking.k8s.io ClusterNetworkPolicy,
            cilium.io/v2 CiliumNetworkPolicy
Units       ports in host order
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

from cairn.kube.finding import Finding
from cairn.kube.selector import Selector
from cairn.net import Network, Protocol

NAMESPACE = "io.kubernetes.pod.namespace"
"""Label: the namespace of a pod."""
NAMESPACE_LABEL = "io.cilium.k8s.namespace.labels."
"""Prefix of a label that the pod's namespace carries."""
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
"""Label: the service account of a pod."""
CLUSTER = "io.cilium.k8s.policy.cluster"
"""Label: the cluster of a pod."""
RESERVED = "reserved:"
"""Prefix of a label with an empty value by which reserved groups are selected."""


class Direction(Enum):
    """Which way a connection is opened, seen from the subject."""

    INGRESS = "ingress"
    """Others open it towards the subject."""
    EGRESS = "egress"
    """The subject opens it."""


class Action(Enum):
    """What a rule does with what it matches."""

    ALLOW = "allow"
    """Lets it through."""
    DENY = "deny"
    """Drops it."""
    PASS = "pass"  # noqa: S105
    """Leaves it to the tiers below (ClusterNetworkPolicy)."""


class Tier(IntEnum):
    """Which policies are asked first."""

    ADMIN = 0
    """ClusterNetworkPolicy of the Admin tier: first match by priority decides."""
    NORMAL = 1
    """NetworkPolicy, CiliumNetworkPolicy and its clusterwide form, as one union: deny wins, then
    allow, then default deny where any of them isolates."""
    BASELINE = 2
    """ClusterNetworkPolicy of the Baseline tier: as Admin, for pods that no policy of the normal
    tier isolates in this direction."""


class PolicyRef(NamedTuple):
    """Which object a policy is."""

    kind: str
    """As in `kind`."""
    namespace: str
    """Empty for policies of the cluster."""
    name: str
    """Unique within kind and namespace."""

    def __str__(self) -> str:
        """Return `kind/name`, or `kind/namespace/name`."""
        return "/".join(part for part in self if part)


class RuleRef(NamedTuple):
    """Which rule of a policy: what drop events and counters name."""

    policy: PolicyRef
    """The object."""
    path: str
    """Where in its spec: `ingress[0].toPorts[1]`, `egressDeny[2]`; "" for its isolation alone."""

    def __str__(self) -> str:
        """Return the policy with the path behind it, or with `default deny`."""
        return f"{self.policy} {self.path}" if self.path else f"{self.policy} default deny"


@dataclass(frozen=True, slots=True)
class LabelPeer:
    """Pods, and reserved groups if it names them, by their labels."""

    selector: Selector
    """Over the flat labels; matches pods of the cluster unless a requirement names `reserved:`."""


@dataclass(frozen=True, slots=True)
class EntityPeer:
    """One of the well-known groups."""

    entity: str
    """`all`, `world`, `world-ipv4`, `world-ipv6`, `cluster`, `host`, `remote-node`,
    `kube-apiserver`, `ingress`, `init`, `health`, `unmanaged`, `none`."""


@dataclass(frozen=True, slots=True)
class CidrPeer:
    """Addresses by network."""

    network: Network
    """The network."""
    excepts: tuple[Network, ...] = ()
    """Parts of it that are not meant."""
    inside: bool = False
    """Whether pods and nodes with such addresses are meant too (NetworkPolicy,
    ClusterNetworkPolicy); else only the world outside the cluster (Cilium)."""


@dataclass(frozen=True, slots=True)
class GroupPeer:
    """The networks of CiliumCIDRGroups."""

    name: str = ""
    """One group, or "" if `selector` says which."""
    selector: Selector | None = None
    """Groups by their labels."""
    excepts: tuple[Network, ...] = ()
    """Parts that are not meant."""


@dataclass(frozen=True, slots=True)
class NodePeer:
    """Nodes by the labels of their Node objects."""

    selector: Selector
    """Which nodes."""


@dataclass(frozen=True, slots=True)
class FqdnPeer:
    """Addresses that DNS gives for names."""

    name: str = ""
    """One name, lower case, without the final dot; or "" if `pattern` says which."""
    pattern: str = ""
    """Likewise, with `*` for any characters of a name but the dot, and `**.` in front for one or
    more labels; `*` alone is every name."""


@dataclass(frozen=True, slots=True)
class ServicePeer:
    """The backends of Services."""

    namespace: str
    """Where the Services are; "" for every namespace, with a selector."""
    name: str = ""
    """One Service, or "" if `selector` says which."""
    selector: Selector | None = None
    """Services by their labels."""


Peer = LabelPeer | EntityPeer | CidrPeer | GroupPeer | NodePeer | FqdnPeer | ServicePeer


@dataclass(frozen=True, slots=True)
class PortMatch:
    """Ports of one protocol, or of any that has ports."""

    protocol: Protocol | None
    """None: TCP, UDP and SCTP."""
    first: int = 0
    """First port; 0 with `last` 65535 and no name: all."""
    last: int = 65535
    """Last port."""
    name: str = ""
    """Name of a container port in place of numbers: of the subject on ingress, of the other end
    on egress."""


@dataclass(frozen=True, slots=True)
class ProtocolMatch:
    """A protocol without ports, by number."""

    number: int
    """IANA protocol number."""


@dataclass(frozen=True, slots=True)
class IcmpMatch:
    """One type of ICMP message."""

    family: int
    """4 for ICMP, 6 for ICMPv6."""
    type: int
    """0..255."""


Match = PortMatch | ProtocolMatch | IcmpMatch


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A condition on one header of a request."""

    name: str
    """Lower case."""
    value: str | None
    """What it must be; None: it must be there."""
    mismatch: str = ""
    """What to do if it is not so: "" denies; LOG, ADD, DELETE and REPLACE let the request pass and
    note or mend it."""
    secret: tuple[str, str] | None = None
    """Namespace and name of the Secret that holds the value."""


@dataclass(frozen=True, slots=True)
class HttpRule:
    """Requests that are allowed; all conditions must hold, an empty one always does."""

    method: str = ""
    """Extended regular expression of the whole method."""
    path: str = ""
    """Of the whole path."""
    host: str = ""
    """Of the whole host."""
    headers: tuple[HeaderMatch, ...] = ()
    """Conditions on headers."""


@dataclass(frozen=True, slots=True)
class DnsRule:
    """Names that may be asked for; as in FqdnPeer."""

    name: str = ""
    """One name."""
    pattern: str = ""
    """Or a pattern."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much new traffic is taken; the rest is dropped."""

    per_second: int
    """New TCP connections, or UDP packets."""
    burst: int
    """How many may come at once."""
    total: bool = False
    """One budget for all sources, and not one for each."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: which peers, at which ports, under which conditions."""

    path: str
    """Where it stands in the spec, as in RuleRef."""
    direction: Direction
    """Which way."""
    action: Action
    """What becomes of what it matches."""
    peers: tuple[Peer, ...] = ()
    """Any of them; empty: everyone."""
    matches: tuple[Match, ...] = ()
    """Any of them; empty: every protocol and port."""
    http: tuple[HttpRule, ...] | None = None
    """Requests allowed on these connections; None: no condition, and an empty tuple allows none."""
    dns: tuple[DnsRule, ...] | None = None
    """Names that may be asked for, likewise."""
    server_names: tuple[str, ...] = ()
    """TLS server names that are allowed, `*` for one label; empty: no condition."""
    rate: RateLimit | None = None
    """Limit on new traffic of what it allows."""
    implied: bool = False
    """Not written: DNS for the names of `toFQDNs`, the pod's own node, the guard of a node."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy, read."""

    ref: PolicyRef
    """Which object."""
    uid: str
    """Unique in time too."""
    subject: Selector | None
    """Pods it is about, over the flat labels (its namespace is a requirement of it); None: it is
    about nodes."""
    nodes: Selector | None = None
    """Nodes it is about, over the labels of Node objects."""
    tier: Tier = Tier.NORMAL
    """When it is asked."""
    priority: int = 0
    """Within the Admin and Baseline tiers; the lower is asked first."""
    isolates: frozenset[Direction] = frozenset()
    """Directions in which its subjects are closed but for what is allowed (normal tier)."""
    rules: tuple[Rule, ...] = ()
    """In the order of the spec."""
    requires: tuple[tuple[Direction, Selector], ...] = ()
    """fromRequires, toRequires: every LabelPeer of the subject's rules of the normal tier in this
    direction must also match this, whichever policy it stands in."""
    audit: bool = False
    """Its verdicts are recorded and not enforced (`policy.cilium.io/audit-mode: "true"`)."""
    disabled: bool = False
    """It is not enforced while it stands (`policy.cilium.io/disabled: "true"`)."""
    guarded: bool = True
    """For nodes: the API server, BGP and the administrator's session stay reachable."""
    findings: tuple[Finding, ...] = ()
    """What is honoured otherwise than its author may think."""


class InvalidPolicy(ValueError):
    """A policy that is not understood, and so not enforced."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        """Where in the object: `spec.ingress[0].toPorts[1].ports[0].port`."""
        self.reason = reason
        """What stands there, and what may."""


def workload_labels(
    labels: Mapping[str, str],
    *,
    namespace: str,
    namespace_labels: Mapping[str, str],
    service_account: str,
) -> dict[str, str]:
    """Return the flat labels by which every policy selects a pod."""
    return {
        **labels,
        **{f"{NAMESPACE_LABEL}{key}": value for key, value in namespace_labels.items()},
        NAMESPACE: namespace,
        SERVICE_ACCOUNT: service_account or "default",
        CLUSTER: "default",
    }
