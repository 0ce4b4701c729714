"""What a user calls an end of a connection, found in a World.

`ns/name`, `deploy/ns/name`, `app=web`, `10.0.0.1`, `api.github.com`, `node/n1`, `world`  ->  Ends

Raises  NoSuchEnd, with what to write instead
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from cairn.abi.structs import Identity
from cairn.diagnose.policy.end import End, Kind
from cairn.diagnose.policy.miss import Place, same_name
from cairn.diagnose.policy.pod import Pod, would_be_pod
from cairn.diagnose.policy.world import World
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import RESERVED, workload_labels
from cairn.net import Address, parse_address

WORKLOADS = {
    "deploy": "Deployment",
    "deployment": "Deployment",
    "ds": "DaemonSet",
    "daemonset": "DaemonSet",
    "sts": "StatefulSet",
    "statefulset": "StatefulSet",
    "rs": "ReplicaSet",
    "replicaset": "ReplicaSet",
    "job": "Job",
}
"""Words before `NAMESPACE/NAME`, and the kinds that they mean."""
ENTITIES: Mapping[str, tuple[Kind, Identity]] = {
    "world": (Kind.WORLD, Identity.WORLD_IPV4),
    "world-ipv4": (Kind.WORLD, Identity.WORLD_IPV4),
    "world-ipv6": (Kind.WORLD, Identity.WORLD_IPV6),
    "host": (Kind.NODE, Identity.HOST),
    "remote-node": (Kind.NODE, Identity.REMOTE_NODE),
    "kube-apiserver": (Kind.API_SERVER, Identity.KUBE_APISERVER),
    "ingress": (Kind.GROUP, Identity.INGRESS),
    "health": (Kind.GROUP, Identity.HEALTH),
    "init": (Kind.GROUP, Identity.INIT),
    "unmanaged": (Kind.GROUP, Identity.UNMANAGED),
}
_DNS_NAME = re.compile(r"(?=.{1,253}\.?$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+\.?", re.IGNORECASE)
_CLUSTER_NAME = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)\.svc(\..*)?")
_LABEL = re.compile(r"[^=,\s]+=[^=,\s]*(,[^=,\s]+=[^=,\s]*)*")
FORMS = (
    "NAMESPACE/NAME of a pod or workload, deploy/NAMESPACE/NAME, svc/NAMESPACE/NAME, "
    "NAMESPACE/label=value, an address, a DNS name, node/NAME, or one of " + ", ".join(ENTITIES)
)


class NoSuchEnd(ValueError):
    """A text that names nobody; the message says what would."""


def find_ends(world: World, text: str) -> list[End]:
    """Return the ends that a text names: one for each identity; raises NoSuchEnd."""
    if text in ENTITIES:
        return [group_end(world, text)]
    if address := _address(text):
        return _at_address(world, address)
    if _LABEL.fullmatch(text):
        return _labelled(world, text)
    first, _, rest = text.partition("/")
    if first == "node" and rest:
        return [_node(world, rest)]
    if first in ("svc", "service") and rest:
        return _service(world, _key(rest))
    if first in ("pod", "po") and rest:
        return _pods(world, text, _key(rest), lambda pod: pod.key)
    if first in WORKLOADS and rest:
        key = _key(rest)
        owner = f"{WORKLOADS[first]}/{key.name}"
        return _pods(world, text, Key(key.namespace, owner), _owned)
    if "/" not in text and _DNS_NAME.fullmatch(text):
        return _named(world, text.rstrip(".").lower())
    return _plain(world, text)


def entity(name: str) -> End:
    """Return the end that a well-known group is."""
    kind, identity = ENTITIES[name]
    labels = {f"{RESERVED}{name}": ""}
    if kind is Kind.WORLD:
        labels[f"{RESERVED}world"] = ""
        family = "ipv6" if identity is Identity.WORLD_IPV6 else "ipv4"
        labels[f"{RESERVED}world-{family}"] = ""
    return End(name, kind, int(identity), labels)


def group_end(world: World, name: str) -> End:
    """Return the end that a well-known group is in a World: an API server may be outside, too."""
    end = entity(name)
    labels = {**end.labels, **world.engine.labels_of(end.identity)}
    address = world.api_server[0] if end.kind is Kind.API_SERVER and world.api_server else None
    return replace(end, labels=labels, address=address)


def _address(text: str) -> Address | None:
    try:
        return parse_address(text.strip("[]"))
    except ValueError:
        return None


def _key(text: str) -> Key:
    namespace, slash, name = text.partition("/")
    return Key(namespace, name) if slash else Key("default", namespace)


def _owned(pod: Pod) -> Key:
    return Key(pod.key.namespace, pod.owner)


def _plain(world: World, text: str) -> list[End]:
    """Return the pod of this name, else the pods of the workload of this name."""
    key = _key(text)
    if key in world.pods:
        return [pod_end(world, world.pods[key])]
    named = {f"{kind}/{key.name}" for kind in WORKLOADS.values()}
    found = [
        p for p in world.pods.values() if p.key.namespace == key.namespace and p.owner in named
    ]
    if found:
        return _distinct(world, found)
    if key.namespace not in world.namespaces:
        known = ", ".join(sorted(world.namespaces)) or "none"
        raise NoSuchEnd(
            f"{text!r}: no namespace {key.namespace} (there are: {known}); write {FORMS}"
        )
    raise NoSuchEnd(
        f"{text!r}: no pod or workload {key.name} in namespace {key.namespace}: "
        f"kubectl get pods -n {key.namespace}; or write {FORMS}"
    )


def _pods(world: World, text: str, key: Key, key_of: Callable[[Pod], Key]) -> list[End]:
    found = [pod for pod in world.pods.values() if key_of(pod) == key]
    if not found:
        raise NoSuchEnd(f"{text!r}: there is no such pod: kubectl get pods -n {key.namespace}")
    return _distinct(world, found)


def _distinct(world: World, pods: Iterable[Pod]) -> list[End]:
    """Return one end for each identity among pods."""
    found: dict[int, End] = {}
    for pod in pods:
        end = pod_end(world, pod)
        found.setdefault(end.identity, end)
    return list(found.values())


def pod_end(world: World, pod: Pod) -> End:
    """Return the end that a pod is; one in the node's network is its node."""
    work = pod.workload
    if work.host_network:
        return End(
            f"{pod.key} (in the network of {work.node or 'its node'})",
            Kind.NODE,
            int(Identity.REMOTE_NODE),
            _node_labels(world, work.node),
            node=work.node,
        )
    flat = workload_labels(
        work.labels,
        namespace=work.namespace,
        namespace_labels=world.namespaces.get(work.namespace, {}),
        service_account=work.service_account,
    )
    return End(
        str(pod.key),
        Kind.POD,
        world.engine.identity_of(pod.key),
        flat,
        work.addresses[0] if work.addresses else None,
        work.node,
        ports={port.name: (int(port.protocol), port.port) for port in work.ports},
    )


def _node_labels(world: World, name: str) -> dict[str, str]:
    own = world.nodes[name].metadata.labels if name in world.nodes else {}
    return {**own, f"{RESERVED}remote-node": ""}


def _node(world: World, name: str) -> End:
    node = world.nodes.get(name)
    if node is None:
        known = ", ".join(sorted(world.nodes)) or "none"
        raise NoSuchEnd(f"'node/{name}': there is no such node (there are: {known})")
    address = node.internal_ips[0] if node.internal_ips else None
    identity = world.engine.identity_at(address) if address else int(Identity.REMOTE_NODE)
    labels = {**_node_labels(world, name), **world.engine.labels_of(identity)}
    return End(f"node/{name}", Kind.NODE, identity, labels, address, name)


def _at_address(world: World, address: Address) -> list[End]:
    for pod in world.pods.values():
        if address in pod.workload.addresses and not pod.workload.host_network:
            return [pod_end(world, pod)]
    for name, node in world.nodes.items():
        if address in node.internal_ips:
            return [_node(world, name)]
    for key, service in world.services.items():
        if address in (*service.cluster_ips, *service.load_balancer_ips, *service.external_ips):
            return _service(world, key)
    if address in world.api_server:
        return [group_end(world, "kube-apiserver")]
    return [outside(world, address)]


def at_address(world: World, address: Address) -> End:
    """Return the end that has an address, as packets do."""
    return _at_address(world, address)[0]


def outside(world: World, address: Address) -> End:
    """Return the end that an address outside the cluster is."""
    labels = {f"{RESERVED}world": "", f"{RESERVED}world-ipv{address.version}": ""}
    identity = world.engine.identity_at(address)
    return End(str(address), Kind.WORLD, identity, labels, address)


def _service(world: World, key: Key) -> list[End]:
    """Return the ends behind a Service: policies see them, and not the Service."""
    if key not in world.services:
        raise NoSuchEnd(
            f"'svc/{key}': there is no such Service: kubectl get svc -n {key.namespace}"
        )
    found: dict[int, End] = {}
    for address in world.backends(key):
        for end in _at_address(world, address):
            found.setdefault(end.identity, end)
    if not found:
        raise NoSuchEnd(f"Service {key} has no endpoints: policies are about the pods behind it")
    return list(found.values())


def _named(world: World, name: str) -> list[End]:
    if match := _CLUSTER_NAME.fullmatch(name):
        return _service(world, Key(match.group(2), match.group(1)))
    return [named_end(world, name)]


def named_end(world: World, name: str, address: Address | None = None) -> End:
    """Return the end outside the cluster that is reached by a name."""
    selectors = tuple(
        number for peer, number in world.engine.selectors().items() if same_name(peer, name)
    )
    base = outside(world, address) if address else entity("world")
    return End(
        name, Kind.WORLD, base.identity, base.labels, address, dns_name=name, selectors=selectors
    )


def _labelled(world: World, text: str) -> list[End]:
    namespace, pairs = _split_labels(text)
    wanted = dict(pair.split("=", 1) for pair in pairs.split(","))
    found = [
        pod
        for pod in world.pods.values()
        if (not namespace or pod.key.namespace == namespace)
        and wanted.items() <= dict(pod.workload.labels).items()
    ]
    if found:
        return _distinct(world, found)
    if not namespace:
        raise NoSuchEnd(
            f"{text!r}: no pod has these labels; write NAMESPACE/{text} to ask about one that could"
        )
    pod = would_be_pod(namespace, pairs, wanted)
    if namespace not in world.namespaces:
        world.engine.put_namespace(namespace, {"kubernetes.io/metadata.name": namespace})
    world.engine.put_pod(pod.workload)
    return [pod_end(world, pod)]


def _split_labels(text: str) -> tuple[str, str]:
    """Return namespace and labels: what stands before a slash is no namespace if it has a dot."""
    head, slash, rest = text.partition("/")
    if slash and "=" not in head and "." not in head:
        return head, rest
    return "", text


def end_ports(world: World, text: str, place: Place, end: End) -> Place:
    """Return where a connection ends that is opened to `text`: behind a Service, its target."""
    key = _service_key(world, text)
    if key is None:
        return place
    service = world.services[key]
    names = {p.name for p in service.ports if (p.protocol, p.port) == (place.protocol, place.port)}
    for part in world.slices.get(key, ()):
        for port in part.ports:
            behind = end.address is None or end.address in part.addresses
            if behind and port.name in names and port.protocol == place.protocol:
                return Place(place.protocol, port.port)
    return place


def _service_key(world: World, text: str) -> Key | None:
    first, _, rest = text.partition("/")
    if first in ("svc", "service") and rest:
        return _key(rest)
    if match := _CLUSTER_NAME.fullmatch(text.rstrip(".").lower()):
        return Key(match.group(2), match.group(1))
    if address := _address(text):
        for key, service in world.services.items():
            if address in (*service.cluster_ips, *service.load_balancer_ips, *service.external_ips):
                return key
    return None
