"""One entry for policies of every language.

    object of any kind in POLICY_KINDS  ->  policies, or InvalidPolicy

Invariants  Nothing but InvalidPolicy comes out, whatever the object holds.
"""

from collections.abc import Callable, Mapping

from cairn.kube.metadata import Object
from cairn.kube.policy import cilium, cluster_network_policy, network_policy
from cairn.kube.policy.field import show
from cairn.kube.policy.rule import InvalidPolicy, Policy, PolicyRef
from cairn.kube.policy.sharing import shared_policy

READERS: Mapping[str, Callable[[Object], tuple[Policy, ...]]] = {
    network_policy.KIND: lambda obj: (network_policy.read_network_policy(obj),),
    cluster_network_policy.KIND: lambda obj: (
        cluster_network_policy.read_cluster_network_policy(obj),
    ),
    cilium.NAMESPACED: cilium.read_cilium,
    cilium.CLUSTERWIDE: cilium.read_cilium,
}
"""By kind."""


def read_policies(obj: Object) -> tuple[Policy, ...]:
    """Return the policies that an object makes, each under a name of its own."""
    kind = obj.get("kind")
    reader = READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise InvalidPolicy("kind", f"{show(kind)} is no kind of policies")
    _check_metadata(obj)
    return tuple(map(shared_policy, reader(obj)))


def object_of(ref: PolicyRef) -> PolicyRef:
    """Return the object that a policy was read from: its name without the place of the spec."""
    return ref._replace(name=ref.name.partition("[")[0])


def _check_metadata(obj: Object) -> None:
    """Refuse names and annotations of other types than the API server stores."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping):
        raise InvalidPolicy("metadata", f"{show(metadata)} is not an object")
    for name in ("name", "namespace", "uid"):
        if not isinstance(metadata.get(name) or "", str):
            raise InvalidPolicy(f"metadata.{name}", f"{show(metadata[name])} is not a text")
    annotations = metadata.get("annotations") or {}
    if not isinstance(annotations, Mapping):
        raise InvalidPolicy("metadata.annotations", f"{show(annotations)} is not an object")
