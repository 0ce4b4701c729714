"""Who asks for what: the two ends of a walk, found among the cluster's objects and known hosts.

    CLIENT, TARGET[:PORT][/PROTOCOL], World, hosts by name  ->  Question

Raises  NoSuchParty with near names.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from cairn.diagnose.policy.end import End
from cairn.diagnose.policy.ends import find_ends, named_end, outside, pod_end
from cairn.diagnose.policy.layer7 import Request
from cairn.diagnose.policy.trace import NO_REQUEST
from cairn.diagnose.policy.world import World
from cairn.kube.metadata import Key
from cairn.kube.service import Service, ServicePort
from cairn.net import Address, Protocol, parse_address

_CLUSTER_NAME = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)(\.svc(\.[a-z0-9.-]+)?)?\.?")
_DNS_NAME = re.compile(r"(?=.{1,253}\.?$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)


class NoSuchParty(ValueError):
    """A text that names nobody; the message says what is near."""


class Role(Enum):
    """What an end of a walk is."""

    HOST = "host"
    """A host outside the cluster whose name or address is known."""
    POD = "pod"
    NODE = "node"
    SERVICE = "Service"
    ADDRESS = "address"
    """An address outside the cluster."""
    NAME = "name"
    """A DNS name that is no Service's."""


@dataclass(frozen=True, slots=True)
class Party:
    """One end."""

    text: str
    """As it was written."""
    role: Role
    name: str
    """Of the host, node or DNS name."""
    key: Key | None = None
    """Of the pod or Service."""
    addresses: tuple[Address, ...] = ()
    node: str = ""
    """Where a pod runs."""

    @property
    def inside(self) -> bool:
        """Whether it is a pod or a node."""
        return self.role in (Role.POD, Role.NODE)

    def address_like(self, version: int) -> Address | None:
        """Return its address of an IP version."""
        return next((a for a in self.addresses if a.version == version), None)


@dataclass(frozen=True, slots=True)
class Target:
    """What is written behind the client."""

    host: str
    port: int | None
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class Question:
    """One walk."""

    client: Party
    target: Party
    port: int | None
    """As given; None: the Service's only or first one."""
    protocol: Protocol
    address: Address | None
    """What the client sends packets to; None until the name is looked up, or if there is none."""
    service: Service | None = None
    service_port: ServicePort | None = None
    request: Request = NO_REQUEST
    """What is asked on the connection, if that is said."""
    kind: str = ""
    """How the address is the Service's: cluster-ip, load-balancer, external-ip, node-port."""

    @property
    def at(self) -> int | None:
        """The port that the client asks for."""
        return self.port if self.port is not None else getattr(self.service_port, "port", None)

    @property
    def frontend(self) -> str:
        """Address and port as people write them."""
        if self.address is None:
            return ""
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.at}"


def split_target(text: str) -> Target:
    """Return host, port and protocol of TARGET[:PORT][/PROTOCOL]; raises ValueError."""
    head, slash, word = text.rpartition("/")
    protocol = Protocol.TCP
    known = {p.name.lower(): p for p in Protocol}
    if slash and word.lower() in known:
        protocol, text = known[word.lower()], head
    if _address(text):
        return Target(text.strip("[]"), None, protocol)
    host, colon, number = text.rpartition(":")
    if not colon:
        return Target(text, None, protocol)
    if not number.isascii() or not number.isdecimal() or not 0 < int(number[:6]) < 1 << 16:
        raise ValueError(f"{text!r}: {number!r} is no port: write TARGET:PORT, IPv6 in brackets")
    return Target(host.strip("[]"), int(number), protocol)


def find_client(world: World, text: str, hosts: Mapping[str, tuple[Address, ...]]) -> Party:
    """Return who asks; raises NoSuchParty."""
    found = _host(world, text, hosts) or _inside(world, text)
    if found is None:
        raise NoSuchParty(_nobody(world, text, hosts, services=False))
    return found


def find_target(world: World, text: str, hosts: Mapping[str, tuple[Address, ...]]) -> Party:
    """Return who is asked for; raises NoSuchParty."""
    if address := _address(text):
        if service := service_at(world, address):
            return Party(text, Role.SERVICE, "", service.key, (address,))
        return _at_address(world, text, address, hosts)
    service_party = _service(world, text)
    if service_party:
        return service_party
    found = _host(world, text, hosts) or _inside(world, text)
    if found:
        return found
    if "/" not in text and "." in text and _DNS_NAME.fullmatch(text):
        return Party(text, Role.NAME, text.rstrip(".").lower())
    raise NoSuchParty(_nobody(world, text, hosts, services=True))


def make_question(
    world: World, client: Party, target: Party, at: Target, request: Request = NO_REQUEST
) -> Question:
    """Return the question: which address and port of the target the client asks for."""
    service = world.services.get(target.key) if target.role is Role.SERVICE and target.key else None
    if service is None:
        address = _fitting(client, target.addresses)
        return Question(client, target, at.port, at.protocol, address, request=request)
    port = _port_of(service, at)
    address, kind = _service_address(service, client, target)
    protocol = port.protocol if port and at.port is None else at.protocol
    return Question(
        client, target, at.port, protocol, address, service, port, kind=kind, request=request
    )


def service_at(world: World, address: Address) -> Service | None:
    """Return the Service that has an address."""
    for service in world.services.values():
        if address in (
            *service.cluster_ips, *service.load_balancer_ips, *service.external_ips
        ):  # fmt: skip
            return service
    return None


def end_of(world: World, party: Party) -> End:
    """Return a party as policies see it."""
    if party.key is not None and party.key in world.pods:
        return pod_end(world, world.pods[party.key])
    if party.role is Role.NAME:
        return named_end(world, party.name, party.addresses[0] if party.addresses else None)
    if party.role is Role.NODE:
        return find_ends(world, f"node/{party.name}")[0]
    return outside(world, party.addresses[0])


def _port_of(service: Service, at: Target) -> ServicePort | None:
    if at.port is None:
        fitting = [p for p in service.ports if p.protocol == at.protocol] or list(service.ports)
        return fitting[0] if fitting else None
    for port in service.ports:
        if (port.port, port.protocol) == (at.port, at.protocol):
            return port
    return None


def _service_address(service: Service, client: Party, target: Party) -> tuple[Address | None, str]:
    kinds = (
        ("cluster-ip", service.cluster_ips),
        ("load-balancer", service.load_balancer_ips),
        ("external-ip", service.external_ips),
    )
    if target.addresses:
        kind = next((kind for kind, held in kinds if target.addresses[0] in held), "")
        return target.addresses[0], kind
    order = kinds if client.inside else (*kinds[1:], kinds[0])
    for kind, held in order:
        if kind == "cluster-ip" and not client.inside and service.type == "LoadBalancer":
            continue
        if address := _fitting(client, held):
            return address, kind
    return None, "load-balancer" if service.type == "LoadBalancer" else ""


def _fitting(client: Party, held: Iterable[Address]) -> Address | None:
    versions = {a.version for a in client.addresses} or {4, 6}
    return next((address for address in held if address.version in versions), None)


def _address(text: str) -> Address | None:
    try:
        return parse_address(text.strip("[]"))
    except ValueError:
        return None


def _host(world: World, text: str, hosts: Mapping[str, tuple[Address, ...]]) -> Party | None:
    if address := _address(text):
        return _at_address(world, text, address, hosts)
    if text.removeprefix("node/") in world.nodes:
        name = text.removeprefix("node/")
        return Party(text, Role.NODE, name, addresses=world.nodes[name].internal_ips, node=name)
    if text in hosts:
        return Party(text, Role.HOST, text, addresses=hosts[text])
    return None


def _at_address(
    world: World, text: str, address: Address, hosts: Mapping[str, tuple[Address, ...]]
) -> Party:
    for name, node in world.nodes.items():
        if address in node.internal_ips:
            return Party(text, Role.NODE, name, addresses=(address,), node=name)
    for pod in world.pods.values():
        if address in pod.workload.addresses and not pod.workload.host_network:
            return Party(text, Role.POD, "", pod.key, (address,), pod.workload.node)
    for name, held in hosts.items():
        if address in held:
            return Party(text, Role.HOST, name, addresses=(address,))
    return Party(text, Role.ADDRESS, str(address), addresses=(address,))


def _inside(world: World, text: str) -> Party | None:
    plain = text.removeprefix("pod/").removeprefix("deploy/")
    namespace, slash, name = plain.partition("/")
    key = Key(namespace, name) if slash else Key("default", plain)
    pod = world.pods.get(key)
    if pod is None:
        owned = [
            p for p in world.pods.values()
            if p.exists and p.key.namespace == key.namespace and p.owner.endswith(f"/{key.name}")
        ]  # fmt: skip
        pod = min(owned, key=lambda p: p.key, default=None)
    if pod is None or not pod.exists:
        return None
    return Party(text, Role.POD, "", pod.key, tuple(pod.workload.addresses), pod.workload.node)


def _service(world: World, text: str) -> Party | None:
    plain = text.removeprefix("svc/").removeprefix("service/")
    namespace, slash, name = plain.partition("/")
    key = Key(namespace, name) if slash else Key("default", plain)
    if key not in world.services and not slash and (named := _CLUSTER_NAME.fullmatch(plain)):
        key = Key(named.group(2), named.group(1))
        if named.group(3) is not None and key not in world.services:
            raise NoSuchParty(_no_service(world, key))
    if text != plain and key not in world.services:
        raise NoSuchParty(_no_service(world, key))
    return Party(text, Role.SERVICE, "", key) if key in world.services else None


def _no_service(world: World, key: Key) -> str:
    return f"no Service {key}{_near(str(key), map(str, world.services))}: kubectl get svc -A"


def _nobody(
    world: World, text: str, hosts: Mapping[str, tuple[Address, ...]], *, services: bool
) -> str:
    names = [*hosts, *world.nodes, *(pod.group for pod in world.pods.values())]
    names += map(str, world.pods)
    what = "pod, node, host or address"
    if services:
        names += map(str, world.services)
        what = "Service, pod, node, host, address or DNS name"
    return f"{text!r} is no {what}{_near(text, names)}"


def _near(text: str, names: Iterable[str]) -> str:
    known = sorted(set(names))
    close = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
    if not close:
        tail = text.rpartition("/")[2]
        close = [name for name in known if tail and tail in name][:3]
    return f" (near: {', '.join(close)})" if close else ""
