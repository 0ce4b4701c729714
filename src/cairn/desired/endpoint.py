"""A pod's place in the node's network.

    CNI ADD  ->  PodEndpoint  ->  apply.pod_link, apply.endpoints

Units       mtu_bytes without the Ethernet header
"""

from dataclasses import dataclass

from cairn.net import Address


@dataclass(frozen=True, slots=True)
class PodEndpoint:
    """One pod interface."""

    container_id: str
    """The runtime's id of the pod's sandbox."""
    ifname: str
    """Name of the interface inside the pod."""
    netns: str
    """File that stands for the pod's network namespace."""
    namespace: str
    """Kubernetes namespace of the pod, empty if the runtime did not say."""
    pod: str
    """The pod's name, likewise."""
    uid: str
    """The pod's uid, likewise."""
    addresses: tuple[Address, ...]
    """What the pod was given."""
    host_ifname: str
    """Name of the interface's other end on the node."""
    host_mac: str
    """Ethernet address of that end; the pod's gateway."""
    mac: str
    """Ethernet address of the pod's end."""
    host_ifindex: int
    """Index of the host's end on the node."""
