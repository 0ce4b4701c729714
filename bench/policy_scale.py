"""What 30,000 policies over 6,000 label sets cost the policy engine of one node.

    30,000 pods on 300 nodes, 100 of them here; objects as the API sends them  ->  seconds, ms, MiB

Each application of each namespace has five policies: who may call it (two languages), whom it
may call, and what it may reach outside, by network and by name.

Units       a change counts from its object's being read until every subject that it touches is
            compiled again and every network that it touches is looked up; the maps are not in it
Invariants  It is measured in a process of its own, so its memory is that of one engine with the
            interpreter and Cairn's modules.
"""

import gc
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from itertools import islice
from typing import Any

from row import Row, at_most, percentile

from cairn.compile.policy import Engine
from cairn.drive.daemon import collect_seldom
from cairn.kube.metadata import Key
from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import NAMESPACE, Policy
from cairn.kube.policy.workload import Workload
from cairn.net import parse_address

NAMESPACES, APPS, REPLICAS, POLICIES = 300, 20, 5, 5
PODS_PER_NODE = 100
ROUNDS = 200
NODE = "node-0"
NODES, PODS, NEW_PODS = map(IPv4Address, ("192.168.1.10", "10.64.0.0", "10.96.0.0"))
FILL_AIM_S, CHANGE_AIM_MS, AIM_MIB = 30.0, 100.0, 300.0


def run() -> list[Row]:
    """Measure in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure)


def measure() -> list[Row]:
    """Fill an engine, change it, and tell what it cost."""
    # As every daemon does.
    collect_seldom()
    objects = list(texts())
    engine = Engine(NODE)
    before = rss_mib()
    begun = time.perf_counter()
    spent_reading = fill(engine, objects)
    put = time.perf_counter()
    subjects = compile_changed(engine)
    done = time.perf_counter()
    del objects
    gc.collect()
    rows = [
        at_most(
            f"{count(POLICIES):,} policies, {count(REPLICAS):,} pods: compiled from nothing",
            done - begun - spent_reading,
            "s",
            FILL_AIM_S,
            f"{put - begun - spent_reading:.1f} s to take up all, {done - put:.2f} s for the "
            f"policies of {subjects} identities; reading the objects: {spent_reading:.1f} s more",
        ),
        *changes(engine),
    ]
    gc.collect()
    rows.append(
        at_most(
            "policy engine, memory",
            rss_mib(),
            "MiB",
            AIM_MIB,
            f"RSS of a process with nothing else; {before:.0f} at first, with the objects' texts",
        )
    )
    return rows


def count(each: int) -> int:
    """Return how many there are of what every application has so many of."""
    return NAMESPACES * APPS * each


def changes(engine: Engine) -> Iterator[Row]:
    """Make changes of each kind."""
    for name, change in KINDS.items():
        spent = []
        touched = 0
        for number in range(ROUNDS):
            step = change(engine, number)
            begun = time.perf_counter()
            step()
            touched += compile_changed(engine)
            spent.append((time.perf_counter() - begun) * 1000)
        yield at_most(
            f"{name}, p99",
            percentile(spent, 99),
            "ms",
            CHANGE_AIM_MS,
            f"median {percentile(spent, 50):.2f} ms, of {ROUNDS}; "
            f"{touched / ROUNDS:.1f} identities compiled again at each",
        )


def compile_changed(engine: Engine) -> int:
    """Compile and look up what changed, as the agent does; return how many subjects that were."""
    changed = engine.changes()
    for identity in changed.subjects:
        engine.policy_of(identity)
    identities = engine.identities()
    for network in changed.networks:
        identities.get(network)
    return len(changed.subjects)


def fill(engine: Engine, objects: list[str]) -> float:
    """Give the engine every object; return the seconds that decoding and reading took."""
    spent = 0.0
    engine.put_node(NODE, {}, [NODES])
    for number in range(1, NAMESPACES):
        engine.put_node(f"node-{number}", {}, [NODES + number])
    engine.put_apiserver([parse_address("192.168.1.5")])
    for number in range(NAMESPACES):
        name = f"ns-{number}"
        labels = {"kubernetes.io/metadata.name": name, "team": f"team-{number % 30}"}
        engine.put_namespace(name, labels)
    for text in objects:
        begun = time.perf_counter()
        obj = json.loads(text)
        pod = Workload.from_object(obj) if obj["kind"] == "Pod" else None
        policies = () if pod else read_policies(obj)
        spent += time.perf_counter() - begun
        if pod is not None:
            engine.put_pod(pod)
        for policy in policies:
            engine.put_policy(policy)
    return spent


def texts() -> Iterator[str]:
    """Yield every pod and policy as the API server sends it."""
    for namespace in range(NAMESPACES):
        for app in range(APPS):
            for replica in range(REPLICAS):
                yield json.dumps(pod(namespace, app, replica))
            for obj in policies_of(namespace, app):
                yield json.dumps(obj)


def pod(namespace: int, app: int, replica: int, **more: str) -> dict[str, Any]:
    """Return a pod of an application."""
    number = (namespace * APPS + app) * REPLICAS + replica
    # As a scheduler would place them: a node has pods of many applications.
    node = number * 7919 // 101 % (count(REPLICAS) // PODS_PER_NODE)
    return {
        "kind": "Pod",
        "metadata": {
            "namespace": f"ns-{namespace}",
            "name": f"app-{app}-7d4b9c6f5-x{replica:04d}",
            "labels": {
                "app": f"app-{app}",
                "tier": ("web", "api", "data")[app % 3],
                "app.kubernetes.io/part-of": f"suite-{app % 5}",
                "app.kubernetes.io/version": "1.4.2",
                "pod-template-hash": "7d4b9c6f5",
                **more,
            },
        },
        "spec": {
            "nodeName": f"node-{node}",
            "serviceAccountName": f"app-{app}",
            "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": str(PODS + number)}]},
    }


def policies_of(namespace: int, app: int) -> Iterator[dict[str, Any]]:
    """Yield the policies of an application."""
    here = {"app": f"app-{app}"}
    uid = f"{namespace:08d}-{app:04d}-4a4b-8000-"

    def kubernetes(name: str, way: str, *rules: Any) -> dict[str, Any]:
        return {
            "kind": "NetworkPolicy",
            "metadata": {
                "namespace": f"ns-{namespace}",
                "name": f"{name}-{app}",
                "uid": uid + name,
            },
            "spec": {
                "podSelector": {"matchLabels": here},
                "policyTypes": [way],
                way.lower(): rules,
            },
        }

    def cilium(name: str, **spec: list[Any]) -> dict[str, Any]:
        return {
            "kind": "CiliumNetworkPolicy",
            "metadata": {
                "namespace": f"ns-{namespace}",
                "name": f"{name}-{app}",
                "uid": uid + name,
            },
            "spec": {"endpointSelector": {"matchLabels": here}, **spec},
        }

    callers = [
        {"podSelector": {"matchLabels": {"app": f"app-{(app + step) % APPS}"}}} for step in (1, 2)
    ]
    yield kubernetes("callers", "Ingress", {"from": callers, "ports": [{"port": "http"}]})
    team = {
        "namespaceSelector": {"matchLabels": {"team": f"team-{namespace % 30}"}},
        "podSelector": {"matchLabels": {"tier": "web"}},
    }
    yield kubernetes(
        "team", "Ingress", {"from": [team], "ports": [{"port": 8080, "endPort": 8090}]}
    )
    neighbour = f"ns-{(namespace + 1) % NAMESPACES}"
    data = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": neighbour}},
        "podSelector": {"matchLabels": {"tier": "data"}},
    }
    third = namespace % 256
    block = {"ipBlock": {"cidr": f"172.16.{third}.0/24", "except": [f"172.16.{third}.64/26"]}}
    yield kubernetes("calls", "Egress", {"to": [data], "ports": [{"port": 5432}]}, {"to": [block]})
    dns = {
        "toEndpoints": [{"matchLabels": {NAMESPACE: "kube-system", "k8s-app": "kube-dns"}}],
        "toPorts": [
            {
                "ports": [{"port": "53", "protocol": "ANY"}],
                "rules": {"dns": [{"matchPattern": "*"}]},
            }
        ],
    }
    name = {
        "toFQDNs": [{"matchName": f"api-{namespace % 50}.example.org"}],
        "toPorts": [{"ports": [{"port": "443"}]}],
    }
    yield cilium("outside", egress=[dns, name, {"toCIDR": [f"203.0.{app}.{third}/32"]}])
    # One application in each namespace is open to everybody in the cluster.
    web = {"fromEndpoints": [{"matchLabels": {"tier": "web"}}]}
    peers: dict[str, Any] = {"fromEntities": ["cluster"]} if app == 0 else web
    http = {"http": [{"method": "GET", "path": f"/app-{app}/.*"}]}
    port = {"port": "9090", "protocol": "TCP"}
    yield cilium("http", ingress=[{**peers, "toPorts": [{"ports": [port], "rules": http}]}])


Step = Callable[[], None]


def policy_here(engine: Engine, number: int) -> Step:
    """A policy that selects pods of this node gets another port."""
    namespace, app = places_here()[number % len(places_here())]
    raw = list(policies_of(namespace, app))[1]
    raw["spec"]["ingress"][0]["ports"] = [{"port": 7000 + number}]
    new = one(raw)
    return lambda: engine.put_policy(new)


def policy_anywhere(engine: Engine, number: int) -> Step:
    """A policy comes, or goes again."""
    namespace, app = number // 2 * 37 % NAMESPACES, number // 2 * 13 % APPS
    raw = next(policies_of(namespace, app))
    raw["metadata"]["name"] = "new"
    new = one(raw)
    return (lambda: engine.drop_policy(new.ref)) if number % 2 else (lambda: engine.put_policy(new))


def policy_of_all(engine: Engine, number: int) -> Step:
    """A policy about every pod of a namespace comes, or goes again."""
    raw = next(policies_of(number // 2 % NAMESPACES, 0))
    raw["metadata"]["name"] = "all"
    raw["spec"]["podSelector"] = {}
    raw["spec"]["ingress"] = [{"from": [{"namespaceSelector": {}}]}]
    new = one(raw)
    return (lambda: engine.drop_policy(new.ref)) if number % 2 else (lambda: engine.put_policy(new))


def pod_elsewhere(engine: Engine, number: int) -> Step:
    """A pod of a known kind starts somewhere, with a new address."""
    raw = pod(number * 37 % NAMESPACES, number * 13 % APPS, 9000 + number)
    return put_pod(engine, raw, number)


def pod_of_new_kind(engine: Engine, number: int) -> Step:
    """A pod with labels that no other has starts somewhere."""
    raw = pod(number * 37 % NAMESPACES, number * 13 % APPS, 8000 + number, release=f"r-{number}")
    return put_pod(engine, raw, 1000 + number)


def pod_relabelled(engine: Engine, number: int) -> Step:
    """A pod's label changes, so that other policies select it."""
    raw = pod(number * 37 % NAMESPACES, number * 13 % APPS, 0)
    raw["metadata"]["labels"]["app"] = f"app-{(number * 13 + 7) % APPS}"
    workload = Workload.from_object(raw)
    return lambda: engine.put_pod(workload)


def pod_here(engine: Engine, number: int) -> Step:
    """A pod starts on this node."""
    raw = pod(number * 41 % NAMESPACES, number * 17 % APPS, 7000 + number)
    raw["spec"]["nodeName"] = NODE
    return put_pod(engine, raw, 2000 + number)


def pod_gone(engine: Engine, number: int) -> Step:
    """A pod ends."""
    raw = pod(number * 43 % NAMESPACES, number * 19 % APPS, 1)
    key = Key(raw["metadata"]["namespace"], raw["metadata"]["name"])
    return lambda: engine.drop_pod(key)


def namespace_relabelled(engine: Engine, number: int) -> Step:
    """A namespace of 100 pods joins another team."""
    name = f"ns-{number % NAMESPACES}"
    labels = {"kubernetes.io/metadata.name": name, "team": f"team-{(number + 1) % 30}"}
    return lambda: engine.put_namespace(name, labels)


KINDS: dict[str, Callable[[Engine, int], Step]] = {
    "policy of pods here changed": policy_here,
    "policy came or went": policy_anywhere,
    "policy of a whole namespace came or went": policy_of_all,
    "pod started elsewhere": pod_elsewhere,
    "pod with new labels started elsewhere": pod_of_new_kind,
    "pod's label changed": pod_relabelled,
    "pod started here": pod_here,
    "pod ended": pod_gone,
    "namespace's label changed": namespace_relabelled,
}


def put_pod(engine: Engine, raw: dict[str, Any], number: int) -> Step:
    """Return the step that gives the engine a pod with an address of its own."""
    raw["status"]["podIPs"] = [{"ip": str(NEW_PODS + number)}]
    workload = Workload.from_object(raw)
    return lambda: engine.put_pod(workload)


def places_here() -> list[tuple[int, int]]:
    """Return namespace and number of applications that have a pod on this node."""
    everywhere = (
        (n, a, r) for n in range(NAMESPACES) for a in range(APPS) for r in range(REPLICAS)
    )
    here = ((n, a) for n, a, r in everywhere if pod(n, a, r)["spec"]["nodeName"] == NODE)
    return list(dict.fromkeys(islice(here, 20)))


def one(raw: dict[str, Any]) -> Policy:
    """Return the one policy that an object makes."""
    (policy,) = read_policies(raw)
    return policy


def rss_mib() -> float:
    """Return the resident memory of this process in MiB."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 2**20


if __name__ == "__main__":
    NAMESPACES = int(sys.argv[1]) if len(sys.argv) > 1 else NAMESPACES
    for row in measure():
        print(f"{row.figure:75} {row.value:9.2f} {row.unit:4} {row.aim:10} {row.meaning}")
