"""One end of a connection, as policies see it.

a pod, a node, an address, a name, a well-known group  ->  End
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from cairn.abi.structs import Identity
from cairn.kube.policy.rule import NAMESPACE, NAMESPACE_LABEL, RESERVED
from cairn.net import Address


class Kind(Enum):
    """What an end is."""

    POD = "pod"
    """A pod of the cluster, or one that could be."""
    NODE = "node"
    """A node, or the node where the pod at the other end runs."""
    API_SERVER = "kube-apiserver"
    """The cluster's API server."""
    WORLD = "world"
    """An address outside the cluster."""
    GROUP = "group"
    """Another well-known group: health, ingress, init, unmanaged."""


@dataclass(frozen=True, slots=True)
class End:
    """Who sends, or who is reached."""

    text: str
    """How it is called in answers."""
    kind: Kind
    """What it is."""
    identity: int
    """Its identity in the Engine."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Flat labels of a pod, or those of a Node."""
    address: Address | None = None
    """Its address, if that says anything."""
    node: str = ""
    """Name of the node: of itself, or where it runs."""
    dns_name: str = ""
    """Name by which it is reached, lower case, without the final dot."""
    selectors: tuple[int, ...] = ()
    """Identities of the name selectors that `dns_name` fits."""
    ports: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Protocol and number of its named ports."""

    @property
    def namespace(self) -> str:
        """Namespace of a pod; "" for everything else."""
        return self.labels.get(NAMESPACE, "") if self.kind is Kind.POD else ""

    @property
    def own_labels(self) -> dict[str, str]:
        """Labels that stand in a pod's metadata, without what it has from elsewhere."""
        return {k: v for k, v in self.labels.items() if not _lent(k)}

    @property
    def judged(self) -> bool:
        """Whether policies can be about it."""
        return self.kind is Kind.POD or self.kind is Kind.NODE


def _lent(key: str) -> bool:
    return key.startswith((NAMESPACE_LABEL, "io.cilium.k8s.policy.")) or key == NAMESPACE


def as_seen_from(end: End, other: End) -> End:
    """Return `end` as the other end's policies see it: a pod's own node is its host."""
    if end.kind is Kind.NODE and other.kind is Kind.POD and end.node and end.node == other.node:
        labels = {k: v for k, v in end.labels.items() if not k.startswith(RESERVED)}
        labels[f"{RESERVED}host"] = ""
        return replace(end, identity=int(Identity.HOST), labels=labels)
    return end
