"""What `kubectl get` shows: columns and cells, kind by kind."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cairn.apiserver.duration import spell
from cairn.apiserver.jsonpath import BadPath, check_path, find
from cairn.apiserver.table import render_table

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def ago(**delta: float) -> str:
    return (NOW - timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(kind: Any, obj: dict[str, Any], *, wide: bool = True) -> dict[str, Any]:
    metadata = {"name": "x", "creationTimestamp": ago(hours=5), **obj.get("metadata", {})}
    table = render_table(kind, [obj | {"metadata": metadata}], now=NOW, include="None")
    columns = table["columnDefinitions"]
    cells = zip(columns, table["rows"][0]["cells"], strict=True)
    return {c["name"].upper(): v for c, v in cells if wide or c["priority"] == 0}


def state(**more: Any) -> dict[str, Any]:
    return {"name": "web", "ready": True, "restartCount": 0, "state": {"running": {}}, **more}


SPEC = {"containers": [{"name": "web"}, {"name": "log"}], "nodeName": "node-1"}
INITS = SPEC | {"initContainers": [{"name": "a"}, {"name": "b"}]}
SIDECAR = SPEC | {"initContainers": [{"name": "side", "restartPolicy": "Always"}]}

PODS = [
    (
        {"spec": SPEC, "status": {"phase": "Running", "podIP": "10.244.1.5",
            "containerStatuses": [state(), state(ready=False)]}},
        {"READY": "1/2", "STATUS": "Running", "RESTARTS": "0", "AGE": "5h", "IP": "10.244.1.5",
         "NODE": "node-1", "NOMINATED NODE": "<none>", "READINESS GATES": "<none>"},
    ),
    ({"spec": SPEC, "status": {"phase": "Pending"}}, {"READY": "0/2", "STATUS": "Pending"}),
    (
        {"spec": SPEC, "status": {"phase": "Pending", "containerStatuses": [
            state(ready=False, state={"waiting": {"reason": "ImagePullBackOff"}})]}},
        {"STATUS": "ImagePullBackOff"},
    ),
    (
        {"spec": SPEC, "status": {"phase": "Running", "containerStatuses": [
            state(ready=False, restartCount=3, state={"waiting": {"reason": "CrashLoopBackOff"}},
                  lastState={"terminated": {"finishedAt": ago(seconds=62)}})]}},
        {"STATUS": "CrashLoopBackOff", "RESTARTS": "3 (62s ago)"},
    ),
    (
        {"spec": SPEC, "status": {"phase": "Succeeded", "containerStatuses": [
            state(ready=False, state={"terminated": {"exitCode": 0, "reason": "Completed"}})]}},
        {"READY": "0/2", "STATUS": "Completed"},
    ),
    (
        {"spec": SPEC, "status": {"phase": "Failed", "containerStatuses": [
            state(ready=False, state={"terminated": {"exitCode": 7}})]}},
        {"STATUS": "ExitCode:7"},
    ),
    (
        {"metadata": {"deletionTimestamp": ago(seconds=1)}, "spec": SPEC,
         "status": {"phase": "Running", "containerStatuses": [state()]}},
        {"STATUS": "Terminating"},
    ),
    (
        {"spec": INITS, "status": {"phase": "Pending", "initContainerStatuses": [
            state(name="a", state={"terminated": {"exitCode": 0}}), state(name="b")]}},
        {"READY": "0/2", "STATUS": "Init:1/2"},
    ),
    (
        {"spec": INITS, "status": {"phase": "Pending", "initContainerStatuses": [
            state(name="a", state={"terminated": {"exitCode": 1, "reason": "Error"}})]}},
        {"STATUS": "Init:Error"},
    ),
    (
        {"spec": SIDECAR, "status": {"phase": "Running",
            "initContainerStatuses": [state(name="side", started=True)],
            "containerStatuses": [state(), state(name="log")]}},
        {"READY": "3/3", "STATUS": "Running"},
    ),
    ({"spec": SPEC, "status": {"phase": "Failed", "reason": "Evicted"}}, {"STATUS": "Evicted"}),
]  # fmt: skip


@pytest.mark.parametrize(("obj", "expected"), PODS)
def test_pods(kinds: Any, obj: Any, expected: Any) -> None:
    cells = shown(kinds["v1", "Pod"], obj)
    assert {name: cells[name] for name in expected} == expected


LB = {
    "type": "LoadBalancer",
    "clusterIP": "10.96.0.7",
    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
    "selector": {"app": "web", "tier": "a"},
}
GIVEN = {"loadBalancer": {"ingress": [{"ip": "192.168.1.100"}]}}
READY = [{"type": "Ready", "status": "True"}]
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}
SELECT = {"matchLabels": {"app": "web"}}
OTHERS = [
    (
        ("v1", "Service"),
        {"spec": LB, "status": GIVEN},
        {"NAME": "x", "TYPE": "LoadBalancer", "CLUSTER-IP": "10.96.0.7",
         "EXTERNAL-IP": "192.168.1.100", "PORT(S)": "80:30080/TCP", "AGE": "5h",
         "SELECTOR": "app=web,tier=a"},
    ),
    (("v1", "Service"), {"spec": LB}, {"EXTERNAL-IP": "<pending>"}),
    (
        ("v1", "Service"),
        {"spec": {"type": "ClusterIP", "clusterIP": "None", "ports": [
            {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}},
        {"CLUSTER-IP": "None", "EXTERNAL-IP": "<none>", "PORT(S)": "53/UDP,53/TCP",
         "SELECTOR": "<none>"},
    ),
    (
        ("v1", "Service"),
        {"spec": {"type": "ExternalName", "externalName": "a.b"}},
        {"CLUSTER-IP": "<none>", "EXTERNAL-IP": "a.b", "PORT(S)": "<none>"},
    ),
    (
        ("v1", "Node"),
        {"metadata": {"labels": {"node-role.kubernetes.io/worker": ""}},
         "spec": {"unschedulable": True},
         "status": {"conditions": READY, "nodeInfo": {"kubeletVersion": "v1.33.0"},
                    "addresses": [{"type": "InternalIP", "address": "192.168.1.10"}]}},
        {"NAME": "x", "STATUS": "Ready,SchedulingDisabled", "ROLES": "worker", "AGE": "5h",
         "VERSION": "v1.33.0", "INTERNAL-IP": "192.168.1.10", "EXTERNAL-IP": "<none>",
         "OS-IMAGE": "<unknown>", "KERNEL-VERSION": "<unknown>",
         "CONTAINER-RUNTIME": "<unknown>"},
    ),
    (("v1", "Node"), {}, {"STATUS": "Unknown", "ROLES": "<none>", "VERSION": ""}),
    (
        ("apps/v1", "Deployment"),
        {"spec": {"replicas": 3, "template": TEMPLATE, "selector": SELECT},
         "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}},
        {"NAME": "x", "READY": "2/3", "UP-TO-DATE": 3, "AVAILABLE": 2, "AGE": "5h",
         "CONTAINERS": "a,b", "IMAGES": "a:1,b:1", "SELECTOR": "app=web"},
    ),
    (
        ("apps/v1", "ReplicaSet"),
        {"spec": {"replicas": 3}, "status": {"replicas": 2}},
        {"DESIRED": 3, "CURRENT": 2, "READY": 0, "AGE": "5h"},
    ),
    (
        ("apps/v1", "DaemonSet"),
        {"spec": {"template": TEMPLATE}, "status": {"desiredNumberScheduled": 3, "numberReady": 2}},
        {"DESIRED": 3, "CURRENT": 0, "READY": 2, "UP-TO-DATE": 0, "AVAILABLE": 0,
         "NODE SELECTOR": "<none>", "AGE": "5h"},
    ),
    (
        ("discovery.k8s.io/v1", "EndpointSlice"),
        {"addressType": "IPv4", "ports": [{"port": 80}],
         "endpoints": [{"addresses": [f"10.0.0.{n}"]} for n in range(1, 6)]},
        {"ADDRESSTYPE": "IPv4", "PORTS": "80",
         "ENDPOINTS": "10.0.0.1,10.0.0.2,10.0.0.3 + 2 more...", "AGE": "5h"},
    ),
    (
        ("v1", "Endpoints"),
        {"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                      "ports": [{"port": 80}]}]},
        {"ENDPOINTS": "10.0.0.1:80,[fd00::1]:80"},
    ),
    (
        ("v1", "Event"),
        {"type": "Warning", "reason": "NoPool", "message": "no pool\n", "count": 4,
         "lastTimestamp": ago(seconds=30), "firstTimestamp": ago(minutes=20),
         "involvedObject": {"kind": "Service", "name": "web"},
         "source": {"component": "operator", "host": "node-1"}},
        {"LAST SEEN": "30s", "TYPE": "Warning", "REASON": "NoPool", "OBJECT": "service/web",
         "MESSAGE": "no pool", "FIRST SEEN": "20m", "COUNT": 4, "SOURCE": "operator, node-1"},
    ),
    (("v1", "ConfigMap"), {"data": {"a": "b"}, "binaryData": {"c": ""}}, {"DATA": 2}),
    (("v1", "Secret"), {"type": "Opaque", "data": {"a": "b"}}, {"TYPE": "Opaque", "DATA": 1}),
    (("v1", "ServiceAccount"), {}, {"SECRETS": 0, "AGE": "5h"}),
    (("v1", "Namespace"), {"status": {"phase": "Active"}}, {"STATUS": "Active"}),
    (
        ("coordination.k8s.io/v1", "Lease"),
        {"spec": {"holderIdentity": "node-1"}},
        {"HOLDER": "node-1", "AGE": "5h"},
    ),
    (
        ("networking.k8s.io/v1", "NetworkPolicy"),
        {"spec": {"podSelector": SELECT}},
        {"POD-SELECTOR": "app=web"},
    ),
    (("networking.k8s.io/v1", "NetworkPolicy"), {"spec": {}}, {"POD-SELECTOR": "<none>"}),
    (
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        {"roleRef": {"kind": "Role", "name": "r"},
         "subjects": [{"kind": "ServiceAccount", "namespace": "n", "name": "s"},
                      {"kind": "User", "name": "u"}]},
        {"ROLE": "Role/r", "USERS": "u", "GROUPS": "", "SERVICEACCOUNTS": "n/s"},
    ),
    (
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        {}, {"NAME": "x", "CREATED AT": "2026-01-02T07:00:00Z"},
    ),
    (
        ("cilium.io/v2alpha1", "CiliumLoadBalancerIPPool"),
        {"spec": {"disabled": False}, "status": {"conditions": [
            {"type": "cilium.io/PoolConflict", "status": "False"},
            {"type": "cilium.io/IPsAvailable", "status": "Unknown", "message": "11"}]}},
        {"DISABLED": False, "CONFLICTING": "False", "IPS AVAILABLE": "11", "AGE": "5h"},
    ),
    (
        ("cilium.io/v2alpha1", "CiliumBGPPeeringPolicy"),
        {"spec": {"virtualRouters": [{"localASN": 64512, "neighbors": [
            {"peerAddress": "192.168.1.1"}, {"peerAddress": "fd00::1"}]}]},
         "status": {"nodes": 3, "sessions": "3/3", "announced": 1}},
        {"NAME": "x", "NODES": 3, "SESSIONS": "3/3", "AGE": "5h", "ASN": "64512",
         "PEERS": "192.168.1.1,fd00::1", "ANNOUNCED": 1, "REASON": None},
    ),
    (
        ("cilium.io/v2alpha1", "CiliumBGPAdvertisement"),
        {"status": {"addresses": ["192.168.1.100"], "nodes": ["node-1", "node-2"]}},
        {"ADDRESSES": "192.168.1.100", "NODES": "node-1,node-2", "AGE": "5h"},
    ),
    (
        ("cilium.io/v2", "CiliumNode"),
        {"spec": {"addresses": [{"type": "InternalIP", "ip": "192.168.1.10"},
                                {"type": "CiliumInternalIP", "ip": "10.244.1.1"}],
                  "ipam": {"podCIDRs": ["10.244.1.0/24"]}}, "status": {"bgp": "1/1"}},
        {"CILIUMINTERNALIP": "10.244.1.1", "INTERNALIP": "192.168.1.10", "AGE": "5h",
         "PODCIDRS": "10.244.1.0/24", "BGP": "1/1"},
    ),
    (
        ("cilium.io/v2", "CiliumEndpoint"),
        {"status": {"identity": {"id": 7}, "state": "ready",
                    "networking": {"addressing": [{"ipv4": "10.244.1.5"}]}}},
        {"SECURITY IDENTITY": 7, "ENDPOINT STATE": "ready", "IPV4": "10.244.1.5", "IPV6": None},
    ),
    (
        ("cilium.io/v2", "CiliumNetworkPolicy"),
        {"status": {"conditions": [{"type": "Valid", "status": "True"}]}},
        {"AGE": "5h", "VALID": "True"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "obj", "expected"), OTHERS)
def test_cells(kinds: Any, kind: Any, obj: Any, expected: Any) -> None:
    cells = shown(kinds[kind], obj)
    assert {name: cells[name] for name in expected} == expected


def test_narrow_service_table_is_kubectls(kinds: Any) -> None:
    names = list(shown(kinds["v1", "Service"], {"spec": LB}, wide=False))
    assert names == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]


def test_every_kind_shows_an_empty_object(kinds: Any) -> None:
    for kind in kinds.values():
        assert shown(kind, {})["NAME"] == "x"


def test_the_name_comes_first_but_for_events(kinds: Any) -> None:
    first = {kind.kind: next(iter(shown(kind, {}, wide=False))) for kind in kinds.values()}
    assert first.pop("Event") == "LAST SEEN"
    assert set(first.values()) == {"NAME"}


def test_event_tables_are_kubectls(kinds: Any) -> None:
    narrow = list(shown(kinds["v1", "Event"], {}, wide=False))
    assert narrow == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    wide = list(shown(kinds["v1", "Event"], {}))
    assert wide == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "SUBOBJECT", "SOURCE", "MESSAGE",
                    "FIRST SEEN", "COUNT", "NAME"]  # fmt: skip


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("None", None),
        ("Metadata", {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                      "metadata": {"name": "c"}}),
        ("Object", {"metadata": {"name": "c"}, "data": {}}),
    ],
)  # fmt: skip
def test_what_a_row_brings(kinds: Any, include: str, expected: Any) -> None:
    obj = {"metadata": {"name": "c"}, "data": {}}
    table = render_table(kinds["v1", "ConfigMap"], [obj], now=NOW, include=include)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert table["rows"][0].get("object") == expected
    assert table["rows"][0]["cells"] == ["c", 0, "<unknown>"]


SPELT = [
    (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"), (600, "10m"),
    (10799, "179m"), (10800, "3h"), (11000, "3h3m"), (28800, "8h"), (172799, "47h"),
    (172800, "2d"), (180000, "2d2h"), (691200, "8d"), (63072000, "2y"), (66000000, "2y33d"),
    (400000000, "12y"), (-1, "0s"), (-5, "<invalid>"),
]  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), SPELT)
def test_durations(seconds: int, text: str) -> None:
    assert spell(seconds) == text


CONDITIONS = {"status": {"conditions": [{"type": "A", "status": "x"}, {"type": "B", "n": [1, 2]}]}}
PATHS = [
    (".status.conditions[0].type", ["A"]),
    (".status.conditions[-1].type", ["B"]),
    (".status.conditions[*].type", ["A", "B"]),
    ('.status.conditions[?(@.type=="B")].n[1]', [2]),
    (".status.conditions[?(@.type!='B')].status", ["x"]),
    ("{.status.conditions[1].n}", [[1, 2]]),
    (".status['conditions'][0]['type']", ["A"]),
    (".status.none.deeper", []),
    (".status.conditions[9]", []),
]


@pytest.mark.parametrize(("path", "values"), PATHS)
def test_json_paths(path: str, values: Any) -> None:
    assert find(path, CONDITIONS) == values


def test_a_dot_within_a_key() -> None:
    obj = {"metadata": {"labels": {"k.x/y": "z"}}}
    assert find(r".metadata.labels['k\.x/y']", obj) == ["z"]
    assert find(r".metadata.labels.k\.x\/y", obj) == ["z"]


@pytest.mark.parametrize("path", [".a[", ".a..b", ".a[?(@.b>1)]", ".a[x]"])
def test_bad_paths(path: str) -> None:
    with pytest.raises(BadPath):
        check_path(path)
