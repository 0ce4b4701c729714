"""What works as written and will surprise: sessions, filters, pools and Services at home.

    object, World  ->  Found

Not here    What is not honoured (kube.unsupported), what the readers find (others).
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cairn.compile.bgp_nodes import compile_bgp_nodes
from cairn.desired.prefix_filter import parse_filter
from cairn.diagnose.lint.found import Found, Weight
from cairn.diagnose.policy.world import World
from cairn.kube.load_balancer import load_balancer_of
from cairn.kube.metadata import Object, key_of
from cairn.kube.peering_policy import PeeringPolicy, peering_policy_of
from cairn.kube.pool import pool_of
from cairn.net import Address, parse_address, parse_network

SLOW_S = 60
"""A dead node whose routes stay for longer is worth a word."""
REQUEST_KEYS = ("io.cilium/lb-ipam-ips", "lbipam.cilium.io/ips")
SERVER_FIELDS = ("uid", "resourceVersion", "managedFields")
ETCD_PORT = "2379"


def find(obj: Object, subject: str, world: World) -> Iterator[Found]:
    """Yield what will surprise the author of one object."""
    finder = _FINDERS.get(str(obj.get("kind")))
    if finder is not None:
        yield from finder(obj, subject, world)


def saved(obj: Object, subject: str) -> Iterator[Found]:
    """Yield what is wrong with a file that was saved from a cluster (`kubectl get -o yaml`)."""
    fields = [f"metadata.{key}" for key in SERVER_FIELDS if key in obj["metadata"]]
    fields += ["status"] if obj.get("status") else []
    if fields:
        text = (
            f"{', '.join(fields)} is the server's, and stands here because the file was saved from "
            "a cluster: an apply to another cluster does without it, and addresses that Services "
            "hold are in their status alone; save Services, policies and Secrets too"
        )
        yield Found("ServerFields", Weight.NOTE, subject, fields[0], text)


def _peering(obj: Object, subject: str, world: World) -> Iterator[Found]:
    spec = obj.get("spec") or {}
    policy = peering_policy_of(obj)
    yield from _two_policies(policy, subject, world)
    for index, router in enumerate(spec.get("virtualRouters") or ()):
        where = f"spec.virtualRouters[{index}]"
        for number, neighbor in enumerate(router.get("neighbors") or ()):
            path = f"{where}.neighbors[{number}]"
            yield from _session(router, neighbor, path, subject)
            for field in ("importFilter", "exportFilter"):
                if field in neighbor:
                    yield from _filter(field, str(neighbor[field]), path, subject, world)


def _session(
    router: Mapping[str, Any], neighbor: Mapping[str, Any], path: str, subject: str
) -> Iterator[Found]:
    if "peerAddress" in neighbor and "/" not in str(neighbor["peerAddress"]):
        text = (
            "Cairn takes it with and without a prefix length; older schemas of this kind refuse an "
            "address without /32"
        )
        yield Found("AddressWithoutLength", Weight.NOTE, subject, f"{path}.peerAddress", text)
    if "eBGPMultihop" in neighbor:
        text = (
            "Cairn reads eBGPMultihop; the kind's own schema calls it eBGPMultihopTTL, and other "
            "systems drop the field silently"
        )
        yield Found("FieldRenamed", Weight.NOTE, subject, f"{path}.eBGPMultihop", text)
    if neighbor.get("peerASN") is not None and neighbor["peerASN"] == router.get("localASN"):
        text = (
            f"router and nodes share AS {neighbor['peerASN']}: iBGP works with one router, and "
            "what it learns it tells no second one without being a route reflector; take a "
            "private AS number of the nodes' own (eBGP) before there is a second router"
        )
        yield Found("IbgpToRouter", Weight.NOTE, subject, f"{path}.peerASN", text)
    restart = neighbor.get("gracefulRestart") or {}
    if "holdTimeSeconds" in neighbor and restart.get("enabled"):
        hold, stale = int(neighbor["holdTimeSeconds"]), int(restart.get("restartTimeSeconds", 120))
        if hold + stale > SLOW_S:
            text = (
                f"a node that dies keeps its routes at the router for up to {hold + stale} s "
                f"(hold time {hold} and restart time {stale}) unless BFD or the link tells of it: "
                "a hold time of 9 s with keepalives of 3 s is usual in a home network"
            )
            yield Found("SlowFailover", Weight.NOTE, subject, f"{path}.holdTimeSeconds", text)


def _two_policies(policy: PeeringPolicy, subject: str, world: World) -> Iterator[Found]:
    policies = [peering_policy_of(obj) for obj in world.of_kind("CiliumBGPPeeringPolicy")]
    reach = compile_bgp_nodes(policies, world.nodes.values()).policies.get(policy.name)
    if reach is not None and reach.conflicts:
        node, other = next(iter(reach.conflicts.items()))
        text = (
            f"{len(reach.conflicts)} nodes, among them {node}, follow the older policy {other} "
            "already, and this one does nothing there: add its neighbors to that policy"
        )
        yield Found("TwoPolicies", Weight.WARNING, subject, "spec.nodeSelector", text)


def _filter(field: str, raw: str, path: str, subject: str, world: World) -> Iterator[Found]:
    """Try a filter on the addresses that Services hold or could be given."""
    try:
        rules = parse_filter(raw)
    except ValueError:
        return  # the reader has told of it
    if field == "importFilter":
        if not rules.permits(parse_network("0.0.0.0/0")) and not rules.permits(
            parse_network("203.0.113.0/24")
        ):
            text = f"{raw!r} takes no route from the router, which nodes need none of: fine"
            yield Found("NothingImported", Weight.NOTE, subject, f"{path}.{field}", text)
        return
    tried = dict.fromkeys(_addresses(world))
    denied = [a for a in tried if not rules.permits(parse_network(f"{a}/{a.max_prefixlen}"))]
    if denied:
        text = (
            f"{raw!r} keeps {len(denied)} of {len(tried)} addresses from the router, the first is "
            f"{denied[0]}: the routes are single addresses, so a prefix has to hold for those "
            f"within it (permit {denied[0]}/{denied[0].max_prefixlen})"
        )
        yield Found("FilterDeniesAddress", Weight.ERROR, subject, f"{path}.{field}", text)
    elif tried:
        text = f"{raw!r} lets all {len(tried)} addresses of pools and Services that were tried pass"
        yield Found("FilterTried", Weight.NOTE, subject, f"{path}.{field}", text)


def _addresses(world: World) -> Iterator[Address]:
    for service in world.services.values():
        yield from service.load_balancer_ips
    for obj in world.of_kind("CiliumLoadBalancerIPPool"):
        for block in pool_of(obj).blocks:
            kind = ipaddress.IPv4Address if block.version == 4 else ipaddress.IPv6Address
            yield from (parse_address(str(kind(number))) for number in (block.first, block.last))


def _pool(obj: Object, subject: str, world: World) -> Iterator[Found]:
    spec = obj.get("spec") or {}
    labels = (spec.get("serviceSelector") or {}).get("matchLabels") or {}
    for key in REQUEST_KEYS:
        if key in labels:
            text = (
                f"{key} is read here as the label that it is written as; it is also the name of "
                "the annotation by which a Service asks for addresses: take a label of your own"
            )
            path = "spec.serviceSelector.matchLabels"
            yield Found("LabelLikeAnnotation", Weight.NOTE, subject, path, text)
    blocks = pool_of(obj).blocks
    for address, owner in _owners(world):
        for block in blocks:
            if block.version == address.version and block.first <= int(address) <= block.last:
                text = (
                    f"block {block.text} holds {address} of {owner}, which is never given out: "
                    "keep pools clear of hosts and of what DHCP gives (Cairn probes an address "
                    "before its first use, and skips one that answers)"
                )
                yield Found("PoolHoldsHost", Weight.WARNING, subject, "spec.blocks", text)


def _owners(world: World) -> Iterator[tuple[Address, str]]:
    for node in world.nodes.values():
        yield from ((address, f"node {node.name}") for address in node.internal_ips)
    for obj in world.of_kind("CiliumBGPPeeringPolicy"):
        for router in peering_policy_of(obj).routers:
            yield from ((n.address, "the router") for n in router.neighbors)


def _service(obj: Object, subject: str, world: World) -> Iterator[Found]:
    service = load_balancer_of(obj)
    if not service.handled:
        return
    pools = [pool_of(raw) for raw in world.of_kind("CiliumLoadBalancerIPPool")]
    if pools and not any(p.selector and p.selector.matches(service.selectable) for p in pools):
        names = ", ".join(pool.name for pool in pools[:3])
        text = (
            f"no pool selects it (pools: {names}), so it stays pending: give it the labels that a "
            f"pool's serviceSelector asks for ({pools[0].selector})"
        )
        yield Found("NoPoolSelects", Weight.ERROR, subject, "metadata.labels", text)
    if not pools and not service.held:
        text = "no pool exists, so it stays pending: apply a CiliumLoadBalancerIPPool"
        yield Found("NoPool", Weight.WARNING, subject, "spec.type", text)
    selector = ((obj.get("spec") or {}).get("selector") or {}).items()
    namespace = key_of(obj).namespace
    pods = [pod for pod in world.pods.values() if pod.key.namespace == namespace]
    matching = [p for p in pods if all(p.workload.labels.get(k) == v for k, v in selector)]
    if selector and pods and not matching:
        text = (
            f"its selector takes none of the {len(pods)} pods in namespace {namespace}: nobody "
            "answers, and no node announces its address"
        )
        yield Found("SelectorTakesNoPod", Weight.WARNING, subject, "spec.selector", text)


def _mesh(obj: Object, subject: str, world: World) -> Iterator[Found]:
    names: set[str] = set()
    for number, cluster in enumerate((obj.get("spec") or {}).get("clusters") or ()):
        path = f"spec.clusters[{number}]"
        if str(cluster.get("address", "")).rpartition(":")[2] == ETCD_PORT:
            text = (
                f"{cluster['address']} is where a cluster's own etcd listens, with keys to all of "
                "it: name the address of its API server, and leave etcd closed"
            )
            yield Found("EtcdPort", Weight.ERROR, subject, f"{path}.address", text)
        if cluster.get("name") in names:
            text = f"{cluster['name']} stands here twice: names of clusters are unique"
            yield Found("ClusterTwice", Weight.ERROR, subject, f"{path}.name", text)
        names.add(str(cluster.get("name")))


_FINDERS: Mapping[str, Callable[[Object, str, World], Iterator[Found]]] = {
    "CiliumLoadBalancerIPPool": _pool,
    "CiliumBGPPeeringPolicy": _peering,
    "CiliumClusterMesh": _mesh,
    "Service": _service,
}
