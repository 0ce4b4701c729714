"""A cluster as its raw objects, and who is found at an address of it.

objects as the API server has them  ->  World; address  ->  End

Naive on purpose: loops over objects, no index, nothing of the product's own readers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Object = dict[str, Any]
Address = IPv4Address | IPv6Address


@lru_cache(maxsize=4096)
def address_of(text: str) -> Address:
    """Return an address from its text; the texts repeat."""
    return ip_address(text)


@lru_cache(maxsize=4096)
def network_of(text: str) -> IPv4Network | IPv6Network:
    """Return a network from its text, likewise; an address alone is one, too."""
    return ip_network(text, strict=False)


TCP, UDP, SCTP, ICMP, ICMP6, VRRP = 6, 17, 132, 1, 58, 112
WITH_PORTS = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}


@dataclass
class World:
    """One cluster, seen from one of its nodes."""

    here: str
    """Name of the node whose data plane is asked; "" for none."""
    objects: list[Object]
    """Namespaces, Nodes, Pods, Services, EndpointSlices, CiliumCIDRGroups and policies."""
    apiserver: list[str] = field(default_factory=list)
    """Addresses of the API server."""
    learnt: dict[str, list[str]] = field(default_factory=dict)
    """Address -> DNS names that it was given for."""

    def __post_init__(self) -> None:
        self._by_kind: dict[str, list[Object]] = {}
        for item in self.objects:
            self._by_kind.setdefault(item["kind"], []).append(item)

    def of_kind(self, kind: str) -> list[Object]:
        """Return the objects of a kind."""
        return self._by_kind.get(kind, [])


@dataclass
class End:
    """One end of a connection."""

    address: Address
    """Its address."""
    pod: Object | None
    """The pod of the pod network that has it."""
    node: Object | None
    """Else the node that has it."""
    apiserver: bool
    """Whether the API server has it."""
    addresses: tuple[Address, ...]
    """Its address; of the node whose data plane is asked all: there they are one end."""

    def within(self, network: str, excepts: Sequence[str] = ()) -> bool:
        """Return whether it is in a network, and in none of its exceptions."""
        return any(
            address in network_of(network)
            and not any(address in network_of(part) for part in excepts)
            for address in self.addresses
        )

    @property
    def outside(self) -> bool:
        """Whether it is outside the cluster."""
        return self.pod is None and self.node is None


@dataclass(frozen=True)
class Question:
    """May a connection be opened, as far as one of its ends is concerned?"""

    subject: str
    """NAMESPACE/NAME of a pod, or "" for the node itself."""
    direction: str
    """`egress`: the subject opens it; `ingress`: it is reached."""
    other: str
    """Address of the other end."""
    protocol: int
    """IANA number."""
    port: int
    """Port at who is reached; for ICMP the type times 256."""


@dataclass(frozen=True)
class Answer:
    """What the standards say."""

    action: str
    """`allow`, `proxy` (allowed, and judged by content), `deny`, `default deny`."""
    because: frozenset[str] = frozenset()
    """Policies as Kind/namespace/name, any of which may be named; empty: none isolates."""
    by_name: bool = False
    """Whether it passes only for a name that was learnt: of several names the first that is found
    decides, so that another policy by name may be named, and look at the content or not."""
    instead: frozenset[str] = frozenset()
    """Policies that may deny it instead: a denial that stands before some rules by names and after
    others stands before all of them, in the compiled form."""
    isolated: bool = True
    """Whether anything closes the subject, so that one of these must be named."""


def name_of(item: Object) -> str:
    """Return NAMESPACE/NAME, or the name alone."""
    metadata = item["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def ref_of(item: Object) -> str:
    """Return Kind/NAMESPACE/NAME."""
    return f"{item['kind']}/{name_of(item)}"


def labels_of(item: Object) -> Mapping[str, str]:
    """Return an object's labels."""
    return item["metadata"].get("labels") or {}


def on_host_network(pod: Object) -> bool:
    """Return whether a pod shares its node's network."""
    return bool(pod["spec"].get("hostNetwork"))


def pod_addresses(pod: Object) -> list[Address]:
    """Return a pod's addresses."""
    return [address_of(entry["ip"]) for entry in pod["status"].get("podIPs") or ()]


def node_addresses(node: Object) -> list[Address]:
    """Return a node's addresses."""
    return [
        address_of(entry["address"])
        for entry in node["status"].get("addresses") or ()
        if entry["type"] in ("InternalIP", "ExternalIP")
    ]


def namespace_labels(world: World, namespace: str) -> Mapping[str, str]:
    """Return the labels of a namespace."""
    for item in world.of_kind("Namespace"):
        if item["metadata"]["name"] == namespace:
            return labels_of(item)
    return {}


def end_at(world: World, text: str) -> End:
    """Return who is at an address."""
    address = address_of(text)
    servers = [address_of(server) for server in world.apiserver]
    for node in world.of_kind("Node"):
        if address in node_addresses(node):
            own = node["metadata"]["name"] == world.here
            all_of_it = tuple(node_addresses(node)) if own else (address,)
            return End(address, None, node, any(a in servers for a in all_of_it), all_of_it)
    for pod in world.of_kind("Pod"):
        if not on_host_network(pod) and address in pod_addresses(pod):
            return End(address, pod, None, address in servers, (address,))
    return End(address, None, None, address in servers, (address,))


def pod_named(world: World, name: str) -> Object:
    """Return a pod by NAMESPACE/NAME."""
    return next(pod for pod in world.of_kind("Pod") if name_of(pod) == name)


def named_ports(pod: Object, name: str) -> Iterator[tuple[int, int]]:
    """Yield (protocol, port) of the container ports of that name."""
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == name:
                yield WITH_PORTS[port.get("protocol") or "TCP"], port["containerPort"]
