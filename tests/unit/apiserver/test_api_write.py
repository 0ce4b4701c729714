"""Create, update, patch and delete, as the Kubernetes API promises them."""

from typing import Any

import pytest
from apiserver_bed import Core

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = "application/merge-patch+json"
POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def config(name: str = "c", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "data": {"a": "1"}}


def deployment(replicas: int = 1) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": POD["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "web"}, "spec": spec}


def test_creation_fills_in_what_the_server_owns(core: Core) -> None:
    made = core.create(MAPS, config(uid="mine", creationTimestamp="1999-01-01T00:00:00Z"))
    assert made["metadata"]["uid"].startswith("uid-")
    assert made["metadata"]["creationTimestamp"] == "2030-01-01T00:00:00Z"
    assert int(made["metadata"]["resourceVersion"]) > 1
    assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")
    again = core.send("POST", MAPS, config())
    assert (again.code, again.value["reason"]) == (409, "AlreadyExists")
    assert again.value["message"] == 'configmaps "c" already exists'


def test_generate_name_completes_a_name(core: Core) -> None:
    names = {
        core.create(MAPS, {"metadata": {"generateName": "x-"}})["metadata"]["name"]
        for _ in range(3)
    }
    assert len(names) == 3
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


@pytest.mark.parametrize(
    ("obj", "code", "text"),
    [
        ({"kind": "Pod", "metadata": {"name": "x"}}, 400, "ConfigMap"),
        ({"metadata": {"name": "Bad_Name"}}, 422, "Bad_Name"),
        ({"metadata": {}}, 422, "name or generateName is required"),
        ({"metadata": {"name": "x", "namespace": "other"}}, 400, "does not match"),
        ({"metadata": {"name": "x", "resourceVersion": "3"}}, 400, "resourceVersion"),
        ([], 400, "expected a JSON object"),
        ({"metadata": 5}, 400, "expected a JSON object"),
        ("x", 400, "expected a JSON object"),
        (b"{", 400, "not JSON"),
    ],
)
def test_wrong_objects_are_refused(core: Core, obj: Any, code: int, text: str) -> None:
    answer = core.send("POST", MAPS, obj)
    assert answer.code == code
    assert text in answer.value["message"]
    assert answer.value["kind"] == "Status"


def test_unknown_fields_strict_warn_ignore(core: Core) -> None:
    obj = config() | {"dta": {}}
    strict = core.send("POST", MAPS + "?fieldValidation=Strict", obj)
    assert strict.code == 400
    assert 'unknown field "dta"' in strict.value["message"]
    warned = core.send("POST", MAPS, obj)
    assert warned.headers["Warning"] == '299 - "unknown field \\"dta\\""'
    assert "dta" not in warned.value
    ignored = core.send("POST", MAPS + "?fieldValidation=Ignore", obj | config("d"))
    assert "Warning" not in ignored.headers


def test_namespaces_must_be_there_and_alive(core: Core) -> None:
    missing = core.send("POST", "/api/v1/namespaces/nope/configmaps", config())
    assert missing.value["message"] == 'namespaces "nope" not found'
    core.create("/api/v1/namespaces", {"metadata": {"name": "going"}})
    core.send("DELETE", "/api/v1/namespaces/going")
    refused = core.send("POST", "/api/v1/namespaces/going/configmaps", config())
    assert refused.code == 403
    assert refused.value["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    space = core.send("GET", "/api/v1/namespaces/going").value
    assert space["status"]["phase"] == "Terminating"
    space["spec"]["finalizers"] = []
    held = core.send("PUT", "/api/v1/namespaces/going", space)
    assert held.value["spec"]["finalizers"] == ["kubernetes"]
    assert core.send("PUT", "/api/v1/namespaces/going/finalize", space).code == 200
    assert core.send("GET", "/api/v1/namespaces/going").code == 404


def test_updates_need_the_last_version_and_the_same_uid(core: Core) -> None:
    made = core.create(MAPS, config())
    changed = made | {"data": {"a": "2"}}
    assert core.send("PUT", f"{MAPS}/c", changed).code == 200
    stale = core.send("PUT", f"{MAPS}/c", changed | {"data": {"a": "3"}})
    assert (stale.code, stale.value["reason"]) == (409, "Conflict")
    other = {"metadata": {"name": "c", "uid": "other"}, "data": {}}
    assert core.send("PUT", f"{MAPS}/c", other).code == 409
    free = core.send("PUT", f"{MAPS}/c", config())
    assert free.code == 200
    assert free.value["metadata"]["uid"] == made["metadata"]["uid"]


def test_an_update_that_changes_nothing_is_none(core: Core) -> None:
    made = core.create(MAPS, config())
    _, events = core.watch(f"{MAPS}?watch=1&resourceVersion={made['metadata']['resourceVersion']}")
    same = core.send("PATCH", f"{MAPS}/c", {"data": {"a": "1"}}, content_type=MERGE)
    assert same.value == made
    assert events == []


def test_generation_counts_changes_of_the_spec_alone(core: Core) -> None:
    core.create(DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/web"

    def patched(patch: Any, sub: str = "") -> Any:
        return core.send("PATCH", path + sub, patch, content_type=MERGE).value

    assert patched({"spec": {"replicas": 3}})["metadata"]["generation"] == 2
    assert patched({"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 2
    status = {"status": {"replicas": 3}, "spec": {"replicas": 9}}
    written = patched(status, "/status")
    assert written["metadata"]["generation"] == 2
    assert (written["spec"]["replicas"], written["status"]["replicas"]) == (3, 3)
    assert patched({"status": {"replicas": 7}})["status"]["replicas"] == 3


def test_scale(core: Core) -> None:
    core.create(DEPLOYMENTS, deployment(2))
    scale = core.send("GET", f"{DEPLOYMENTS}/web/scale").value
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 2)
    assert scale["status"]["selector"] == "app=web"
    patched = core.send(
        "PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 5}}, content_type=MERGE
    )
    assert patched.value["spec"]["replicas"] == 5
    stale = core.send("PUT", f"{DEPLOYMENTS}/web/scale", scale)
    assert stale.code == 409
    negative = core.send(
        "PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}}, content_type=MERGE
    )
    assert negative.code == 422
    assert core.send("GET", f"{DEPLOYMENTS}/web").value["spec"]["replicas"] == 5


def test_dry_run_changes_nothing(core: Core) -> None:
    before = core.server.store.revision
    tried = core.send("POST", MAPS + "?dryRun=All", config())
    assert (tried.code, tried.value["metadata"]["name"]) == (201, "c")
    assert core.send("GET", f"{MAPS}/c").code == 404
    assert core.server.store.revision == before
    assert core.send("POST", MAPS + "?dryRun=Maybe", config()).code == 400


def test_server_side_apply_creates_changes_and_conflicts(core: Core) -> None:
    apply = "application/apply-patch+yaml"
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    made = core.send("PATCH", f"{MAPS}/c?fieldManager=one", obj, content_type=apply)
    assert made.code == 201
    assert made.value["metadata"]["managedFields"][0]["manager"] == "one"
    again = core.send("PATCH", f"{MAPS}/c?fieldManager=one", obj, content_type=apply)
    assert again.value["metadata"]["resourceVersion"] == made.value["metadata"]["resourceVersion"]
    other = obj | {"data": {"a": "2"}}
    conflict = core.send("PATCH", f"{MAPS}/c?fieldManager=two", other, content_type=apply)
    assert conflict.code == 409
    assert conflict.value["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    forced = core.send("PATCH", f"{MAPS}/c?fieldManager=two&force=true", other, content_type=apply)
    assert forced.value["data"] == {"a": "2"}
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: d}\ndata: {a: b}\n"
    written = core.send("PATCH", f"{MAPS}/d?fieldManager=one", yaml, content_type=apply)
    assert written.value["data"] == {"a": "b"}


def test_patches_that_do_not_fit(core: Core) -> None:
    core.create(MAPS, config())
    assert core.send("PATCH", f"{MAPS}/c", {}, content_type="text/plain").code == 415
    assert core.send("PATCH", f"{MAPS}/nope", {}, content_type=MERGE).code == 404
    missing = [{"op": "remove", "path": "/data/zz"}]
    answer = core.send("PATCH", f"{MAPS}/c", missing, content_type="application/json-patch+json")
    assert answer.code == 422
    stale = {"metadata": {"resourceVersion": "1"}}
    assert core.send("PATCH", f"{MAPS}/c", stale, content_type=MERGE).code == 409
    moved = {"metadata": {"name": "other"}}
    assert core.send("PATCH", f"{MAPS}/c", moved, content_type=MERGE).code == 400


def test_services_get_addresses_that_nobody_else_has(core: Core) -> None:
    services = "/api/v1/namespaces/default/services"

    def service(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    one = core.create(services, service("one", type="NodePort"))
    two = core.create(services, service("two", type="NodePort"))
    assert one["spec"]["clusterIP"] != two["spec"]["clusterIP"]
    ports = [s["spec"]["ports"][0]["nodePort"] for s in (one, two)]
    assert ports[0] != ports[1]
    taken = core.send("POST", services, service("three", clusterIP=one["spec"]["clusterIP"]))
    assert taken.code == 422
    assert "already allocated to Service default/one" in taken.value["message"]
    wrong = core.send("POST", services, service("three", clusterIP="192.0.2.1"))
    assert (
        'spec.clusterIPs: Invalid value: []string{"192.0.2.1"}: failed to allocate IP 192.0.2.1: '
        "the provided IP (192.0.2.1) is not in the valid range. "
        "The range of valid IPs is 10.96.0.0/16"
    ) in wrong.value["message"]
    core.send("DELETE", f"{services}/one")
    reused = core.create(services, service("three", clusterIP=one["spec"]["clusterIP"]))
    assert reused["spec"]["clusterIP"] == one["spec"]["clusterIP"]


def test_node_ports_collide_whatever_the_protocol(core: Core) -> None:
    services = "/api/v1/namespaces/default/services"

    def service(name: str, number: int, protocol: str = "TCP") -> dict[str, Any]:
        port = {"port": 80, "nodePort": number, "protocol": protocol}
        return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [port]}}

    core.create(services, service("one", 30080))
    taken = core.send("POST", services, service("two", 30080, "UDP"))
    assert taken.value["message"] == (
        'Service "two" is invalid: spec.ports[0].nodePort: Invalid value: 30080: '
        "provided port is already allocated to Service default/one"
    )
    assert taken.value["details"]["causes"][0]["field"] == "spec.ports[0].nodePort"
    outside = core.send("POST", services, service("two", 29999))
    assert outside.code == 422
    assert "The range of valid ports is 30000-32767" in outside.value["message"]
    twice = service("two", 30090)
    twice["spec"]["ports"] = [
        {"name": name, "port": port, "nodePort": 30090} for name, port in (("a", 80), ("b", 81))
    ]
    refused = core.send("POST", services, twice)
    assert refused.value["message"].endswith("spec.ports[1].nodePort: Duplicate value: 30090")
    balancer = service("three", 30081)
    balancer["spec"] |= {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30080,
    }
    health = core.send("POST", services, balancer)
    assert health.value["details"]["causes"][0]["field"] == "spec.healthCheckNodePort"
    given = core.create(services, {"metadata": {"name": "four"}, "spec": {
        "type": "NodePort", "ports": [{"port": 80}]}})  # fmt: skip
    assert given["spec"]["ports"][0]["nodePort"] >= 30086, "the lower ones are for who asks"


def test_binding_puts_a_pod_on_a_node_once(core: Core) -> None:
    core.create(PODS, POD)
    binding = {"target": {"kind": "Node", "name": "node-1"}, "metadata": {"name": "p"}}
    assert core.send("POST", f"{PODS}/p/binding", binding).code == 201
    pod = core.send("GET", f"{PODS}/p").value
    assert pod["spec"]["nodeName"] == "node-1"
    assert pod["status"]["conditions"][0]["type"] == "PodScheduled"
    again = core.send("POST", f"{PODS}/p/binding", binding)
    assert again.code == 409
    assert "already assigned" in again.value["message"]


def test_nobody_is_refused_but_for_health(core: Core) -> None:
    assert core.send("GET", "/api/v1/pods", user=None).code == 401
    assert core.send("GET", "/readyz", user=None).value == b"ok"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/apis/none/v1/things", 404),
        ("GET", "/api/v1/pods/p", 404),
        ("GET", "/nonsense", 404),
        ("GET", f"{PODS}/p/nothing", 404),
        ("POST", "/api/v1/pods", 405),
        ("POST", f"{PODS}/p", 405),
        ("PUT", PODS, 405),
        ("GET", "/apis/authentication.k8s.io/v1/selfsubjectreviews", 405),
        ("GET", f"{PODS}?limit=x", 400),
        ("GET", f"{PODS}?continue=zzz", 400),
        ("GET", f"{PODS}?watch=1&resourceVersion=abc", 400),
    ],
)
def test_paths_and_verbs_that_are_not_there(core: Core, method: str, path: str, code: int) -> None:
    answer = core.send(method, path, {} if method in ("POST", "PUT") else None)
    assert (answer.code, answer.value["kind"]) == (code, "Status")
