"""One entry for policies of every language.

    object of any kind in POLICY_KINDS  ->  policies, or InvalidPolicy

Invariants  Nothing but InvalidPolicy comes out, whatever the object holds.
"""

from cairn.kube.metadata import Object
from cairn.kube.policy.cilium import CLUSTERWIDE, NAMESPACED, read_cilium
from cairn.kube.policy.network_policy import KIND, read_network_policy
from cairn.kube.policy.rule import InvalidPolicy, Policy

READERS = {
    KIND: lambda obj: (read_network_policy(obj),),
    NAMESPACED: read_cilium,
    CLUSTERWIDE: read_cilium,
}
"""By kind."""


def read_policies(obj: Object) -> tuple[Policy, ...]:
    """Return the policies that an object makes, each under a name of its own."""
    reader = READERS.get(obj.get("kind") or "")
    if reader is None:
        raise InvalidPolicy("kind", f"{obj.get('kind')!r} is not a policy")
    return reader(obj)
