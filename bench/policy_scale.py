"""What 30,000 policies over 6,000 label sets cost the policy engine of one node.

    30,000 pods on 300 nodes, 100 of them here; objects as the API sends them  ->  seconds, ms, MiB

Each application of each namespace has five policies: who may call it (two languages), whom it
may call, and what it may reach outside, by network and by name.

Units       a change counts from its object's being read until every subject that it touches is compiled
            again and every network that it touches has been looked up; the maps are not in it
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
from cairn.kube.metadata import Key
from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import Policy
from cairn.kube.policy.workload import Workload
from cairn.net import parse_address

NAMESPACES, APPS, REPLICAS, POLICIES = 300, 20, 5, 5
PODS_PER_NODE = 100
ROUNDS = 200
NODE = "node-0"
FILL_AIM_S, CHANGE_AIM_MS, AIM_MIB = 30.0, 100.0, 300.0


def run() -> list[Row]:
    """Measure in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure)


def measure() -> list[Row]:
    """Fill an engine, change it, and tell what it cost."""
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
            done - begun - spent_reading, "s", FILL_AIM_S,
            f"{put - begun - spent_reading:.1f} s to take up all, {done - put:.2f} s for the policies "
            f"of {subjects} identities; reading the objects took {spent_reading:.1f} s more",
        ),
        *changes(engine),
    ]  # fmt: skip
    gc.collect()
    rows.append(
        at_most(
            "policy engine, memory", rss_mib(), "MiB", AIM_MIB,
            f"RSS of a process with nothing else; before, the texts of the objects with it: {before:.0f}",
        )
    )  # fmt: skip
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
            f"{name}, p99", percentile(spent, 99), "ms", CHANGE_AIM_MS,
            f"median {percentile(spent, 50):.2f} ms, of {ROUNDS}; "
            f"{touched / ROUNDS:.1f} identities compiled again at each",
        )  # fmt: skip


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
    engine.put_node(NODE, {}, [parse_address("192.168.1.10")])
    for number in range(1, 300):
        engine.put_node(
            f"node-{number}",
            {},
            [parse_address(f"192.168.{1 + number // 200}.{number % 200 + 20}")],
        )
    engine.put_apiserver([parse_address("192.168.1.5")])
    for number in range(NAMESPACES):
        engine.put_namespace(
            f"ns-{number}",
            {"kubernetes.io/metadata.name": f"ns-{number}", "team": f"team-{number % 30}"},
        )
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
        "status": {"phase": "Running", "podIPs": [{"ip": str(IPv4Address("10.64.0.0") + number)}]},
    }


def policies_of(namespace: int, app: int) -> Iterator[dict[str, Any]]:
    """Yield the policies of an application."""
    here = {"app": f"app-{app}"}
    callers = [
        {"podSelector": {"matchLabels": {"app": f"app-{(app + step) % APPS}"}}} for step in (1, 2)
    ]
    yield kubernetes(
        namespace, f"callers-{app}", here, "Ingress",
        [{"from": callers, "ports": [{"port": "http", "protocol": "TCP"}]}],
    )  # fmt: skip
    team = {"namespaceSelector": {"matchLabels": {"team": f"team-{namespace % 30}"}},
            "podSelector": {"matchLabels": {"tier": "web"}}}  # fmt: skip
    yield kubernetes(
        namespace, f"team-{app}", here, "Ingress", [{"from": [team], "ports": [{"port": 8080, "endPort": 8090}]}]
    )  # fmt: skip
    other = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"ns-{(namespace + 1) % NAMESPACES}"}},
             "podSelector": {"matchLabels": {"tier": "data"}}}  # fmt: skip
    block = {
        "ipBlock": {
            "cidr": f"172.16.{namespace % 256}.0/24",
            "except": [f"172.16.{namespace % 256}.64/26"],
        }
    }
    yield kubernetes(
        namespace, f"calls-{app}", here, "Egress", [{"to": [other], "ports": [{"port": 5432}]}, {"to": [block]}]
    )  # fmt: skip
    yield cilium(
        namespace, f"outside-{app}", here,
        egress=[
            {"toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s-app": "kube-dns"}}],
             "toPorts": [{"ports": [{"port": "53", "protocol": "ANY"}], "rules": {"dns": [{"matchPattern": "*"}]}}]},
            {"toFQDNs": [{"matchName": f"api-{namespace % 50}.example.org"}], "toPorts": [{"ports": [{"port": "443"}]}]},
            {"toCIDR": [f"203.0.{app}.{namespace % 256}/32"]},
        ],
    )  # fmt: skip
    # One application in each namespace is open to everybody in the cluster.
    peers = (
        {"fromEntities": ["cluster"]}
        if app == 0
        else {"fromEndpoints": [{"matchLabels": {"tier": "web"}}]}
    )
    http = {"http": [{"method": "GET", "path": f"/app-{app}/.*"}]}
    yield cilium(
        namespace, f"http-{app}", here,
        ingress=[{**peers, "toPorts": [{"ports": [{"port": "9090", "protocol": "TCP"}], "rules": http}]}],
    )  # fmt: skip


def kubernetes(
    namespace: int, name: str, here: dict[str, str], way: str, rules: list[Any]
) -> dict[str, Any]:
    """Return a NetworkPolicy."""
    return {
        "kind": "NetworkPolicy",
        "metadata": {"namespace": f"ns-{namespace}", "name": name, "uid": f"{namespace:08d}-{name}-4a4b-8000-000000000000"},
        "spec": {"podSelector": {"matchLabels": here}, "policyTypes": [way], way.lower(): rules},
    }  # fmt: skip


def cilium(namespace: int, name: str, here: dict[str, str], **spec: list[Any]) -> dict[str, Any]:
    """Return a CiliumNetworkPolicy."""
    return {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"namespace": f"ns-{namespace}", "name": name, "uid": f"{namespace:08d}-{name}-4a4b-8000-000000000000"},
        "spec": {"endpointSelector": {"matchLabels": here}, **spec},
    }  # fmt: skip


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
    raw = list(policies_of(namespace, app))[0]
    raw["metadata"]["name"] = "new"
    new = one(raw)
    return (lambda: engine.drop_policy(new.ref)) if number % 2 else (lambda: engine.put_policy(new))


def policy_of_all(engine: Engine, number: int) -> Step:
    """A policy about every pod of a namespace comes, or goes again."""
    raw = kubernetes(
        number // 2 % NAMESPACES, "all", {}, "Ingress", [{"from": [{"namespaceSelector": {}}]}]
    )
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
    raw["status"]["podIPs"] = [{"ip": str(IPv4Address("10.96.0.0") + number)}]
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
