"""A Service as the data plane and the announcer need it.

    v1.Service  ->  Service

Standards   Kubernetes v1.Service
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern

from cairn.kube.metadata import Key, Metadata, Object, metadata_of
from cairn.net import Address, Network, Protocol, parse_address, parse_network

SOURCE_RATE = "cairn.io/source-rate"
"""Annotation: how many connections a second one source may open."""
MOST_PER_S = 1_000_000
"""The highest rate that can be asked for."""
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
"""Annotation of old that says what spec.loadBalancerSourceRanges says."""
DEFAULT_AFFINITY_S = 10800
"""How long an idle client keeps its pod where nothing else is said (v1.ClientIPConfig)."""
HEALTH_CHECK = "cairn.io/health-check"
"""Annotation: how the nodes check the Service's backends (health.annotation)."""
ANNOUNCE = "cairn.io/announce"
"""Annotation: `all-nodes` announces the Service's addresses from every node."""
WEIGHTED = "cairn.io/weighted"
"""Annotation: `true` tells routers how many ready backends each node has, to share by."""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service."""

    name: str
    """Empty when the Service has one unnamed port."""
    protocol: Protocol
    """Transport protocol."""
    port: int
    """Port at the Service's addresses."""
    node_port: int
    """Port at every node; 0 for none."""


@dataclass(frozen=True, slots=True)
class Service:
    """One Service."""

    metadata: Metadata
    """Names, labels, annotations."""
    type: str
    """ClusterIP, NodePort, LoadBalancer or ExternalName."""
    cluster_ips: tuple[Address, ...]
    """Addresses inside the cluster; empty for headless Services."""
    load_balancer_ips: tuple[Address, ...]
    """Addresses that the status carries."""
    ports: tuple[ServicePort, ...]
    """As listed."""
    load_balancer_class: str
    """Empty when no class is asked for."""
    external_traffic_policy: str
    """Cluster or Local, for clients outside the cluster."""
    internal_traffic_policy: str
    """Cluster or Local, for clients inside."""
    affinity_s: int
    """How long an idle client keeps its pod; 0 without session affinity."""
    external_ips: tuple[Address, ...]
    """Addresses that somebody else brings to the nodes."""
    source_ranges: tuple[Network, ...]
    """Whom its load-balancer addresses serve; empty for everyone."""
    health_check_node_port: int
    """Where nodes tell whether they have a pod of it; 0 for nowhere."""
    publish_not_ready: bool
    """Whether endpoints count before they are ready."""
    source_rate: int
    """New connections a second that one source may open; 0 for any number."""
    selector: tuple[tuple[str, str], ...] = ()
    """Labels that its pods carry, sorted; empty where somebody else tells its endpoints."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.metadata.key

    @property
    def announced_everywhere(self) -> bool:
        """Whether every node announces its addresses, with or without a backend."""
        return self.metadata.annotations.get(ANNOUNCE) == "all-nodes"

    @property
    def weighted(self) -> bool:
        """Whether nodes announce how many ready backends they have."""
        return self.metadata.annotations.get(WEIGHTED) == "true"

    @staticmethod
    def from_object(obj: Object) -> "Service":
        """Return the view of a v1.Service; addresses that do not parse are left out."""
        spec = obj.get("spec") or {}
        status = (obj.get("status") or {}).get("loadBalancer") or {}
        cluster_ips = spec.get("clusterIPs") or [spec.get("clusterIP") or "None"]
        return Service(
            metadata=metadata_of(obj),
            type=intern(spec.get("type") or "ClusterIP"),
            cluster_ips=addresses(cluster_ips),
            load_balancer_ips=addresses(
                entry.get("ip") or "" for entry in status.get("ingress") or ()
            ),
            ports=tuple(_port(raw) for raw in spec.get("ports") or ()),
            load_balancer_class=spec.get("loadBalancerClass") or "",
            external_traffic_policy=intern(spec.get("externalTrafficPolicy") or "Cluster"),
            internal_traffic_policy=intern(spec.get("internalTrafficPolicy") or "Cluster"),
            affinity_s=_affinity(spec),
            external_ips=addresses(spec.get("externalIPs") or ()),
            source_ranges=_ranges(obj),
            health_check_node_port=spec.get("healthCheckNodePort") or 0,
            publish_not_ready=bool(spec.get("publishNotReadyAddresses")),
            source_rate=source_rate_of(obj) or 0,
            selector=_pairs(spec.get("selector") or {}),
        )


def _port(raw: Object) -> ServicePort:
    name, protocol = raw.get("name") or "", raw.get("protocol") or "TCP"
    return _shared_port(name, protocol, raw["port"], raw.get("nodePort") or 0)


@lru_cache(maxsize=1024)
def _shared_port(name: str, protocol: str, port: int, node_port: int) -> ServicePort:
    return ServicePort(name, Protocol[protocol], port, node_port)


def _pairs(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((intern(key), intern(value)) for key, value in labels.items()))


def _affinity(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(client.get("timeoutSeconds") or DEFAULT_AFFINITY_S)


def _ranges(obj: Object) -> tuple[Network, ...]:
    """Return the networks of clients; what does not parse admits nobody."""
    texts = (obj.get("spec") or {}).get("loadBalancerSourceRanges")
    if not texts:
        text = (metadata_of(obj).annotations.get(SOURCE_RANGES) or "").strip()
        texts = text.split(",") if text else ()
    found: list[Network] = []
    for text in texts:
        try:
            found.append(parse_network(text.strip(), strict=False))
        except ValueError:
            continue
    return tuple(found) if found or not texts else (parse_network("::/128"),)


def source_rate_of(obj: Object) -> int | None:
    """Return the rate that a Service allows one source; None if there is none to be read."""
    text = (metadata_of(obj).annotations.get(SOURCE_RATE) or "").strip()
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:8]) <= MOST_PER_S:
        return None
    return int(text) if len(text) <= len(str(MOST_PER_S)) else None


def addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    """Return the addresses among `texts`; "None", "" and what does not parse are left out."""
    found: list[Address] = []
    for text in texts:
        try:
            found.append(parse_address(text))
        except ValueError:
            continue
    return tuple(found)
