"""Who has an address, as the node's agent knows it now.

    Engine, Services, nodes, learnt names  ->  address  ->  Known

Cost        about 10 us an address; observe.flow_records asks once a second for each
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cairn.abi.structs import Identity
from cairn.compile.policy.engine import Engine
from cairn.flow.address import read_octets
from cairn.flow.columns import Decision, End
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.policy.rule import Direction, PolicyRef, RuleRef
from cairn.kube.service import Service
from cairn.net import Address
from cairn.observe.flow_records import Known

WORLD = ("reserved:world",)


@dataclass(frozen=True, slots=True)
class Sources:
    """What names come from."""

    engine: Engine
    """Pods and identities."""
    services: Mapping[Key, Service]
    """Every Service."""
    nodes: Mapping[str, NodeFacts]
    """Every node."""
    names: Callable[[Address], tuple[str, ...]]
    """DNS names by which pods of this node learnt an address."""


class FlowEnds:
    """Names of addresses."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources
        self._services: dict[Address, Key] = {}
        self._nodes: dict[Address, str] = {}
        self._labels: dict[int, tuple[str, ...]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again who has the addresses of Services and nodes."""
        self._services = {
            address: key
            for key, service in self._from.services.items()
            for address in (
                *service.cluster_ips,
                *service.load_balancer_ips,
                *service.external_ips,
            )
        }
        self._nodes = {
            address: name
            for name, facts in self._from.nodes.items()
            for address in facts.internal_ips
        }
        self._labels.clear()

    def known(self, octets: bytes) -> Known:
        """Return who has the address in 16 octets."""
        address = read_octets(octets)
        service = self._services.get(address)
        if service is not None:
            return Known(End(namespace=service.namespace, service=service.name), 0)
        engine = self._from.engine
        identity = engine.identity_at(address)
        names = self._from.names(address)
        pod = engine.pod_at(address)
        node = self._nodes.get(address, "")
        if pod is not None and pod.namespace:
            workload = engine.workload(pod)
            kind, _, name = (workload.owner if workload else "").partition("/")
            return Known(
                End(
                    namespace=pod.namespace,
                    pod=pod.name,
                    labels=self._labels_of(identity),
                    workload_kind=kind,
                    workload=name,
                    names=names,
                ),
                identity,
            )
        labels = self._labels_of(identity) or WORLD
        return Known(End(labels=labels, node=node, names=names), identity or int(Identity.WORLD))

    def _labels_of(self, identity: int) -> tuple[str, ...]:
        found = self._labels.get(identity)
        if found is None:
            found = self._labels[identity] = tuple(
                sorted(_label(*item) for item in self._from.engine.labels_of(identity).items())
            )
        return found


def decision_of(ref: RuleRef) -> Decision:
    """Return what a rule is called in flows."""
    policy = ref.policy
    egress = ref.path.startswith(Direction.EGRESS.value)
    labels = labels_of_policy(policy)
    return Decision(policy.kind, policy.namespace, policy.name, ref.path, egress, labels)


def labels_of_policy(policy: PolicyRef) -> tuple[str, ...]:
    """Return the labels that name a policy."""
    return (
        f"k8s:io.cilium.k8s.policy.derived-from={policy.kind}",
        f"k8s:io.cilium.k8s.policy.name={policy.name}",
        *((f"k8s:io.cilium.k8s.policy.namespace={policy.namespace}",) if policy.namespace else ()),
    )


def _label(key: str, value: str) -> str:
    if key.startswith("reserved:"):
        return key
    return f"k8s:{key}={value}"
