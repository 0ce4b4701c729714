"""Compile the host ports of a node's own pods into frontends at the node's addresses.

    Pod, addresses of its node  ->  desired.LbState

Standards   Kubernetes v1.ContainerPort (hostPort, hostIP)
"""

from collections.abc import Iterable

from cairn.desired.load_balancer import Backend, Frontend, Kind, LbState
from cairn.kube.pod_ports import PodPorts
from cairn.net import Address, L4Address


def compile_host_ports(pod: PodPorts, node: Iterable[Address]) -> LbState:
    """Return a frontend per host port and family; none for a pod that is not running."""
    frontends: dict[L4Address, Frontend] = {}
    own = tuple(node)
    for port in pod.ports:
        for address in own if port.host_ip is None else (port.host_ip,):
            target = next((a for a in pod.addresses if a.version == address.version), None)
            if target is None:
                continue
            backend = Backend(L4Address(target, port.protocol, port.port), pod.node)
            where = L4Address(address, port.protocol, port.host_port)
            frontends[where] = Frontend(f"pod {pod.key}", Kind.HOST_PORT, (backend,))
    return frontends
