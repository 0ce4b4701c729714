"""Nine pods, on two nodes, whose policies are in the real maps of the real programs.

                                  +--- n1: pods a, b, c of x and of y    192.168.1.0/24
    the outside --- router -------+
                                  +--- n2: pods a, b, c of z             fd00:1::/64

raw policies  ->  readers, engine, maps  ->  who reaches whom, by sockets
"""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import overlay_bed
from compiled import Compiled
from datapath_bed import batch
from overlay_bed import Pod, Station, add_pod, add_router, add_station
from world import Object, World

from cairn.abi.address import read_address
from cairn.abi.records import EVENT
from cairn.abi.verdicts import FIRST_DROP
from cairn.apply import data_plane
from cairn.apply.policy_maps import PolicyChange, PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import RuleRef
from cairn.libbpf.ring import Ring
from cairn.linux import namespace

NAMESPACES = ("x", "y", "z")
PODS = ("a", "b", "c")
PORTS = (80, 81)
TEAMS = {"x": "red", "y": "red", "z": "blue"}
NO_PROXY = 1
"""Where nobody listens: what a policy wants judged by content is lost here."""
Drop = tuple[str, str, int, int, int]
"""Source, destination, protocol, source port, destination port of what was dropped."""


@dataclass(frozen=True)
class Stranger:
    """Somebody outside the cluster."""

    ns: str
    name: str = "outside"

    def address(self, version: int) -> str:
        return overlay_bed.CLIENTS[version]


def full_name(end: Pod | Stranger) -> str:
    """Return NAMESPACE/NAME of a pod; a stranger has only a name."""
    return f"{end.endpoint.namespace}/{end.name}" if isinstance(end, Pod) else end.name


@dataclass
class PolicedNode:
    """A node's maps with what fills them."""

    station: Station
    product: Compiled
    rules: RuleNumbers = field(default_factory=lambda: RuleNumbers({}))

    def __post_init__(self) -> None:
        maps = self.station.plane.maps
        self.maps = PolicyMaps(maps, self.rules, lambda redirect, rule: NO_PROXY)
        self.ring = Ring(maps["events"], EVENT)
        self.pods = {
            Key(pod.endpoint.namespace, pod.name): pod.endpoint.addresses
            for pod in self.station.pods
        }
        self.first = True

    def write(self) -> None:
        """Write into the maps what became of the policies, as an agent does."""
        engine = self.product.engine
        changes = engine.changes()
        identities, subjects = engine.identities(), engine.subjects()
        concerned = changes.subjects & subjects
        moves = {}
        if self.first:
            changes = replace(changes, networks=frozenset(identities))
            concerned, self.first = subjects, False
            moves = {a: engine.identity_at(a) for known in self.pods.values() for a in known}
        for key in changes.pods & self.pods.keys():
            moves |= {address: engine.identity_at(address) for address in self.pods[key]}
        gone = dict.fromkeys(set(self.maps.subjects) - subjects)
        wrong = self.maps.apply(
            PolicyChange(
                {**gone, **{identity: engine.policy_of(identity) for identity in concerned}},
                {network: identities.get(network) for network in changes.networks},
                moves,
            )
        )
        wrong += self.maps.tidy()
        assert wrong == []
        assert self.maps.failed == {}

    def drops(self) -> dict[Drop, RuleRef | None]:
        """Return what was dropped since this was last asked, and by which rule."""
        found = {}
        for event in self.ring.drain():
            if event["verdict"] < FIRST_DROP:
                continue
            where = (
                str(read_address(bytes(event["source"]))),
                str(read_address(bytes(event["destination"]))),
                int(event["protocol"]),
                int(event["source_port"]),
                int(event["destination_port"]),
            )
            found[where] = self.rules.ref(int(event["rule"]))
        return found


@dataclass
class PolicyBed:
    """The whole."""

    cluster: overlay_bed.Bed
    nodes: list[PolicedNode]
    world: World
    policies: list[Object] = field(default_factory=list)

    @property
    def pods(self) -> list[Pod]:
        return [pod for station in self.cluster.stations for pod in station.pods]

    @property
    def ends(self) -> list[Pod | Stranger]:
        """Everyone who may open connections."""
        return [*self.pods, Stranger(self.cluster.client)]

    def enforce(self, policies: list[Object]) -> None:
        """Put these policies in the place of those before."""
        for node in self.nodes:
            for item in self.policies:
                node.product.drop(item)
            for item in policies:
                node.product.put(item)
            node.write()
        self.policies = policies

    def world_of(self, pod: Pod) -> World:
        """Return the world as a pod's node sees it, with the policies in force."""
        here = next(s.name for s in self.cluster.stations if pod in s.pods)
        return World(here, [*self.world.objects, *self.policies])

    def drops(self) -> dict[Drop, RuleRef | None]:
        """Return what any node dropped since this was last asked."""
        return {key: rule for node in self.nodes for key, rule in node.drops().items()}


def objects_of(cluster: overlay_bed.Bed) -> list[Object]:
    """Return the objects that a cluster of such nodes and pods would have."""
    made: list[Object] = [
        {
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/metadata.name": name,
                    "ns": name,
                    "team": TEAMS[name],
                },
            },
        }
        for name in NAMESPACES
    ]
    for station in cluster.stations:
        addresses = [{"type": "InternalIP", "address": a} for a in station.addresses.values()]
        node = {"kind": "Node", "metadata": {"name": station.name, "labels": {}}}
        made.append({**node, "status": {"addresses": addresses}})
        made += [pod_object(station.name, pod) for pod in station.pods]
    made += [
        {
            "kind": "Service",
            "metadata": {"name": name, "namespace": "y", "labels": labels},
            "spec": {"selector": {"pod": name[0]}, "ports": [{"port": 80}]},
        }
        for name, labels in (("b-web", {}), ("c-open", {"for": "everyone"}))
    ]
    made.append(
        {
            "kind": "CiliumCIDRGroup",
            "metadata": {"name": "vendors", "labels": {}},
            "spec": {"externalCIDRs": ["10.244.0.0/16", "203.0.113.0/24"]},
        }
    )
    return made


def pod_object(node: str, pod: Pod) -> Object:
    """Return a pod's object."""
    labels = {"pod": pod.name, "tier": "web" if pod.name in ("a", "b") else "database"}
    ports = [
        {"name": f"serve-{port}-{word}", "containerPort": port, "protocol": word.upper()}
        for port in PORTS
        for word in ("tcp", "udp")
    ]
    return {
        "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": pod.endpoint.namespace, "labels": labels},
        "spec": {
            "nodeName": node,
            "serviceAccountName": "builder" if pod.name == "b" else "default",
            "containers": [{"name": "main", "ports": ports}],
        },
        "status": {"podIPs": [{"ip": str(address)} for address in pod.endpoint.addresses]},
    }


@contextlib.contextmanager
def policy_bed() -> Iterator[PolicyBed]:
    """Make the cluster; all is gone afterwards."""
    prefix = f"ct{secrets.token_hex(3)}"
    cluster = overlay_bed.Bed(prefix, f"{prefix}-rt", f"{prefix}-cl", f"{prefix}-sw")
    pins = Path("/sys/fs/bpf") / prefix
    try:
        for name in (cluster.switch, cluster.router, cluster.client):
            namespace.create(name)
        add_router(cluster)
        homes = {1: ("x", "y"), 2: ("z",)}
        with patch.object(data_plane, "EVENT_INTERVAL_NS", 0):
            for number in homes:
                add_station(cluster, number, False, (4, 6), pins)
        for station, spaces in zip(cluster.stations, homes.values(), strict=True):
            names = [(home, name) for home in spaces for name in PODS]
            for number, (home, name) in enumerate(names, 1):
                add_pod(cluster, station, name, number, home)
        for station in cluster.stations:
            assert station.apply(cluster.facts) == []
        for station in cluster.stations:
            for network in station.facts.pod_networks:
                way = f"route add {network} via {station.addresses[network.version]}"
                batch(cluster.router, way)
        world = World("", objects_of(cluster))
        nodes = []
        for station in cluster.stations:
            product = Compiled(station.name, {})
            for item in world.objects:
                product.put(item)
            nodes.append(PolicedNode(station, product))
        made = PolicyBed(cluster, nodes, world)
        made.enforce([])
        yield made
    finally:
        for name in namespace.names(prefix):
            namespace.delete(name)
        shutil.rmtree(pins, ignore_errors=True)
