"""Pods as the engine must see them: objects of the API server, wires of this node.

    pod objects, CNI ADD and DEL  ->  Engine.put_pod, Engine.drop_pod

A pod of this node has the addresses that it was wired with, from before the API server knows them
until the wire is gone: an object that comes late, or goes early, changes nothing of that.
A wire whose runtime named no pod has the labels of none, in the namespace "": policies of
namespaces never select it, those of the cluster do if they select everything.

Invariants  A wire belongs to the object of the same uid: of two pods that have a name one after
            the other, each is judged by its own labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cairn.compile.policy.engine import Engine
from cairn.desired.endpoint import PodEndpoint
from cairn.kube.metadata import Key
from cairn.kube.policy.workload import Workload


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod's object, as it was seen last."""

    uid: str
    """Unique in time too."""
    workload: Workload
    """What of it matters."""


class PolicyPods:
    """The pods of the cluster, and the wires of one node."""

    def __init__(self, node: str, engine: Engine, endpoints: Iterable[PodEndpoint]) -> None:
        self._node = node
        self._engine = engine
        self._wired = {pod_key(endpoint): endpoint for endpoint in endpoints}
        self._own: dict[Key, PodSeen] = {}

    @property
    def wired(self) -> dict[Key, PodEndpoint]:
        """This node's wires, by whose they are."""
        return self._wired

    def seen(self, key: Key, pod: PodSeen | None) -> None:
        """Take note of an object at once; `put` does what follows."""
        if pod is not None and pod.workload.node == self._node and not pod.workload.host_network:
            self._own[key] = pod
        else:
            self._own.pop(key, None)

    def known(self, endpoint: PodEndpoint) -> Workload | None:
        """Return the pod of a wire, if its object was seen."""
        if not endpoint.pod:
            return Workload(pod_key(endpoint), {}, "", self._node, endpoint.addresses)
        pod = self._own.get(pod_key(endpoint))
        return pod.workload if pod is not None and _fits(endpoint, pod) else None

    def put(self, key: Key, pod: PodSeen | None) -> None:
        """Have the engine see an object, or that it is gone."""
        endpoint = self._wired.get(key)
        if pod is None:
            if endpoint is None:
                self._engine.drop_pod(key)
            return
        workload = pod.workload
        if workload.node == self._node and not workload.host_network:
            if endpoint is not None and not _fits(endpoint, pod):
                return
            workload = replace(workload, addresses=endpoint.addresses if endpoint else ())
        self._engine.put_pod(workload)

    def wire(self, endpoint: PodEndpoint, workload: Workload) -> None:
        """Take up a wire and whose it is."""
        key = pod_key(endpoint)
        self._wired[key] = endpoint
        self._engine.put_pod(replace(workload, node=self._node, addresses=endpoint.addresses))

    def unwire(self, endpoint: PodEndpoint) -> None:
        """Forget a wire; a pod may have another one by now."""
        key = pod_key(endpoint)
        if self._wired.get(key) != endpoint:
            return
        del self._wired[key]
        if (pod := self._own.get(key)) is not None:
            self._engine.put_pod(replace(pod.workload, addresses=()))
        else:
            self._engine.drop_pod(key)


def pod_key(endpoint: PodEndpoint) -> Key:
    """Return the key of a wire's pod; without one, a key that no object has."""
    if endpoint.pod:
        return Key(endpoint.namespace, endpoint.pod)
    return Key("", endpoint.container_id)


def _fits(endpoint: PodEndpoint, pod: PodSeen) -> bool:
    return not endpoint.uid or endpoint.uid == pod.uid
