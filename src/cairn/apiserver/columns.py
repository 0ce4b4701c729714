"""The columns of `kubectl get` for the builtin kinds but pods.

    object, now  ->  cell

Standards   Columns, words and order are those of Kubernetes' own printers
Not here    Pods (columns_pod), drawing (table).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cairn.apiserver.duration import age
from cairn.apiserver.kind import Cell, Column
from cairn.apiserver.table import AGE, WIDE_NAME
from cairn.kube.selector import InvalidSelector, parse_selector

Obj = Mapping[str, Any]
_NONE = "<none>"


def _path(obj: Any, *names: str) -> Any:
    for name in names:
        obj = obj.get(name) if isinstance(obj, Mapping) else None
    return obj


def _text(*names: str, missing: str = _NONE) -> Cell:
    return lambda obj, now: str(_path(obj, *names) or missing)


def _count(*names: str) -> Cell:
    return lambda obj, now: int(_path(obj, *names) or 0)


def _size(*names: str) -> Cell:
    return lambda obj, now: sum(len(_path(obj, name) or ()) for name in names)


def _labels(labels: Any) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((labels or {}).items())) or _NONE


def _selector(obj: Obj, now: datetime) -> str:
    try:
        selector = parse_selector(_path(obj, "spec", "selector"))
    except InvalidSelector:
        return "<error>"
    return str(selector) if selector.requirements else _NONE


def _container_names(obj: Obj, now: datetime) -> str:
    return ",".join(c.get("name", "") for c in _template_containers(obj)) or _NONE


def _container_images(obj: Obj, now: datetime) -> str:
    return ",".join(c.get("image", "") for c in _template_containers(obj)) or _NONE


def _template_containers(obj: Obj) -> list[Obj]:
    return _path(obj, "spec", "template", "spec", "containers") or []


_WIDE_WORKLOAD = (
    Column("Containers", "string", _container_names, 1),
    Column("Images", "string", _container_images, 1),
    Column("Selector", "string", _selector, 1),
)


def external_ip(obj: Obj, now: datetime) -> str:
    """Return where a Service is reached from outside."""
    spec = obj.get("spec") or {}
    outside = list(spec.get("externalIPs") or ())
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or _NONE)
    if spec.get("type") != "LoadBalancer":
        return ",".join(outside) or _NONE
    ingress = _path(obj, "status", "loadBalancer", "ingress") or ()
    given = [str(item.get("ip") or item.get("hostname") or "") for item in ingress]
    return ",".join([address for address in given if address] + outside) or "<pending>"


def service_ports(obj: Obj, now: datetime) -> str:
    """Return a Service's ports as `80:30080/TCP`."""
    ports = _path(obj, "spec", "ports") or ()
    texts = [
        f"{p.get('port')}{':' + str(p['nodePort']) if p.get('nodePort') else ''}"
        f"/{p.get('protocol', 'TCP')}"
        for p in ports
    ]
    return ",".join(texts) or _NONE


SERVICE = (
    Column("Type", "string", _text("spec", "type")),
    Column("Cluster-IP", "string", _text("spec", "clusterIP")),
    Column("External-IP", "string", external_ip),
    Column("Port(s)", "string", service_ports),
    AGE,
    Column("Selector", "string", lambda obj, now: _labels(_path(obj, "spec", "selector")), 1),
)


def node_status(obj: Obj, now: datetime) -> str:
    """Return whether a node is ready, and whether new pods stay away."""
    conditions = _path(obj, "status", "conditions") or ()
    ready = next((c.get("status") for c in conditions if c.get("type") == "Ready"), None)
    word = {"True": "Ready", "False": "NotReady", "Unknown": "NotReady"}.get(str(ready), "Unknown")
    away = _path(obj, "spec", "unschedulable")
    return f"{word},SchedulingDisabled" if away else word


def node_roles(obj: Obj, now: datetime) -> str:
    """Return the roles that a node's labels give it."""
    prefix, labels = "node-role.kubernetes.io/", _path(obj, "metadata", "labels") or {}
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix)}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(roles - {""})) or _NONE


def _node_address(type_: str) -> Cell:
    def cell(obj: Obj, now: datetime) -> str:
        addresses = _path(obj, "status", "addresses") or ()
        return next((str(a["address"]) for a in addresses if a.get("type") == type_), _NONE)

    return cell


def _node_info(name: str) -> Cell:
    return _text("status", "nodeInfo", name, missing="<unknown>")


NODE = (
    Column("Status", "string", node_status),
    Column("Roles", "string", node_roles),
    AGE,
    Column("Version", "string", _text("status", "nodeInfo", "kubeletVersion", missing="")),
    Column("Internal-IP", "string", _node_address("InternalIP"), 1),
    Column("External-IP", "string", _node_address("ExternalIP"), 1),
    Column("OS-Image", "string", _node_info("osImage"), 1),
    Column("Kernel-Version", "string", _node_info("kernelVersion"), 1),
    Column("Container-Runtime", "string", _node_info("containerRuntimeVersion"), 1),
)


def deployment_ready(obj: Obj, now: datetime) -> str:
    """Return ready and wanted pods, as `2/3`."""
    wanted = _path(obj, "spec", "replicas")
    return f"{_path(obj, 'status', 'readyReplicas') or 0}/{1 if wanted is None else wanted}"


DEPLOYMENT = (
    Column("Ready", "string", deployment_ready),
    Column("Up-to-date", "integer", _count("status", "updatedReplicas")),
    Column("Available", "integer", _count("status", "availableReplicas")),
    AGE,
    *_WIDE_WORKLOAD,
)
REPLICA_SET = (
    Column("Desired", "integer", _count("spec", "replicas")),
    Column("Current", "integer", _count("status", "replicas")),
    Column("Ready", "integer", _count("status", "readyReplicas")),
    AGE,
    *_WIDE_WORKLOAD,
)
DAEMON_SET = (
    Column("Desired", "integer", _count("status", "desiredNumberScheduled")),
    Column("Current", "integer", _count("status", "currentNumberScheduled")),
    Column("Ready", "integer", _count("status", "numberReady")),
    Column("Up-to-date", "integer", _count("status", "updatedNumberScheduled")),
    Column("Available", "integer", _count("status", "numberAvailable")),
    Column(
        "Node Selector",
        "string",
        lambda o, now: _labels(_path(o, "spec", "template", "spec", "nodeSelector")),
    ),
    AGE,
    *_WIDE_WORKLOAD,
)


def _some(items: Iterable[Any], limit: int = 3) -> str:
    """Return the first items, and how many more there are."""
    texts = [str(item) for item in items]
    more = f" + {len(texts) - limit} more..." if len(texts) > limit else ""
    return ",".join(texts[:limit]) + more if texts else ""


def _slice_ports(obj: Obj, now: datetime) -> str:
    return _some(p.get("port", "*") for p in obj.get("ports") or ()) or "<unset>"


def _slice_endpoints(obj: Obj, now: datetime) -> str:
    endpoints = obj.get("endpoints") or ()
    return _some(a for e in endpoints for a in e.get("addresses") or ()) or "<unset>"


ENDPOINT_SLICE = (
    Column("AddressType", "string", ".addressType"),
    Column("Ports", "string", _slice_ports),
    Column("Endpoints", "string", _slice_endpoints),
    AGE,
)


def _endpoints(obj: Obj, now: datetime) -> str:
    texts = []
    for subset in obj.get("subsets") or ():
        addresses = [a.get("ip", "") for a in subset.get("addresses") or ()]
        ports = [p.get("port") for p in subset.get("ports") or ()]
        for address in addresses:
            host = f"[{address}]" if ":" in address else address
            texts += [f"{host}:{port}" for port in ports] or [address]
    return _some(texts) or _NONE


ENDPOINTS = (Column("Endpoints", "string", _endpoints), AGE)


def _event_object(obj: Obj, now: datetime) -> str:
    about = obj.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _event_last(obj: Obj, now: datetime) -> str:
    series = _path(obj, "series", "lastObservedTime")
    return age(series or obj.get("lastTimestamp") or obj.get("eventTime") or _created(obj), now)


def _event_first(obj: Obj, now: datetime) -> str:
    return age(obj.get("firstTimestamp") or obj.get("eventTime") or _created(obj), now)


def _event_source(obj: Obj, now: datetime) -> str:
    source = obj.get("source") or {}
    name = source.get("component") or obj.get("reportingComponent") or ""
    return ", ".join(filter(None, [name, source.get("host")]))


def _event_count(obj: Obj, now: datetime) -> int:
    return int(_path(obj, "series", "count") or obj.get("count") or 1)


def _created(obj: Obj) -> Any:
    return _path(obj, "metadata", "creationTimestamp")


EVENT = (
    Column("Last Seen", "string", _event_last),
    Column("Type", "string", ".type"),
    Column("Reason", "string", ".reason"),
    Column("Object", "string", _event_object),
    Column("Subobject", "string", _text("involvedObject", "fieldPath", missing=""), 1),
    Column("Source", "string", _event_source, 1),
    Column("Message", "string", lambda o, now: str(o.get("message") or "").strip()),
    Column("First Seen", "string", _event_first, 1),
    Column("Count", "integer", _event_count, 1),
    WIDE_NAME,
)
CONFIG_MAP = (Column("Data", "integer", _size("data", "binaryData")), AGE)
SECRET = (Column("Type", "string", ".type"), Column("Data", "integer", _size("data")), AGE)
SERVICE_ACCOUNT = (Column("Secrets", "integer", _size("secrets")), AGE)
LEASE = (Column("Holder", "string", _text("spec", "holderIdentity", missing="")), AGE)
NETWORK_POLICY = (
    Column(
        "Pod-Selector",
        "string",
        lambda o, now: _selector({"spec": {"selector": _path(o, "spec", "podSelector")}}, now),
    ),
    AGE,
)


def _namespace_phase(obj: Obj, now: datetime) -> str:
    deleting = _path(obj, "metadata", "deletionTimestamp")
    return "Terminating" if deleting else str(_path(obj, "status", "phase") or "Active")


NAMESPACE = (Column("Status", "string", _namespace_phase), AGE)
# kubectl shows the time itself here, not an age.
CREATED_AT = (Column("Created At", "string", ".metadata.creationTimestamp"),)


def _role(obj: Obj, now: datetime) -> str:
    role = obj.get("roleRef") or {}
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _subjects(kind: str) -> Cell:
    def cell(obj: Obj, now: datetime) -> str:
        names = [s for s in obj.get("subjects") or () if s.get("kind") == kind]
        return ", ".join(
            f"{s['namespace']}/{s['name']}" if s.get("namespace") else s["name"] for s in names
        )

    return cell


def _controller(obj: Obj, now: datetime) -> str:
    for owner in _path(obj, "metadata", "ownerReferences") or ():
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).rpartition("/")[0]
            kind = str(owner.get("kind", "")).lower()
            return f"{kind}{'.' + group if group else ''}/{owner.get('name', '')}"
    return _NONE


CONTROLLER_REVISION = (
    Column("Controller", "string", _controller),
    Column("Revision", "integer", _count("revision")),
    AGE,
)
ROLE_BINDING = (
    Column("Role", "string", _role),
    AGE,
    Column("Users", "string", _subjects("User"), 1),
    Column("Groups", "string", _subjects("Group"), 1),
    Column("ServiceAccounts", "string", _subjects("ServiceAccount"), 1),
)
