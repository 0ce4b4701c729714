"""Pods, templates and workloads: what is filled in and what is refused."""

import copy
from typing import Any

import pytest

from cairn.apiserver.schema import admit


def pod(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "web", "image": "web:1"}], **spec},
    }


@pytest.fixture
def make(kinds: Any, allocator: Any) -> Any:
    def made(kind: str, obj: dict[str, Any], old: Any = None) -> tuple[dict[str, Any], list[Any]]:
        api = "v1" if kind == "Pod" else "apps/v1"
        found = kinds[api, kind]
        result, errors, _ = admit(found, obj, "Strict")
        assert errors == []
        found.default(result, allocator(old))
        return result, found.validate(result, old)

    return made


def test_pod_defaults(make: Any) -> None:
    obj, errors = make("Pod", pod())
    assert errors == []
    spec = obj["spec"]
    assert (spec["restartPolicy"], spec["dnsPolicy"]) == ("Always", "ClusterFirst")
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["serviceAccountName"] == "default"
    assert spec["containers"][0] == {
        "name": "web",
        "image": "web:1",
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    assert obj["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("web", "Always"),
        ("host:5000/web", "Always"),
        ("web:latest", "Always"),
        ("web:1", "IfNotPresent"),
        ("web@sha256:abc", "IfNotPresent"),
    ],
)
def test_when_an_image_is_pulled(make: Any, image: str, policy: str) -> None:
    obj, _ = make("Pod", pod(containers=[{"name": "web", "image": image}]))
    assert obj["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_probe_defaults(make: Any) -> None:
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 2}
    obj, errors = make("Pod", pod(containers=[
        {"name": "w", "image": "w:1", "readinessProbe": probe}]))  # fmt: skip
    assert errors == []
    assert obj["spec"]["containers"][0]["readinessProbe"] == {
        "httpGet": {"port": 8080, "path": "/", "scheme": "HTTP"},
        "periodSeconds": 2,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_host_network_gives_its_ports_to_the_node(make: Any) -> None:
    container = {"name": "w", "image": "w:1", "ports": [{"containerPort": 80}]}
    obj, _ = make("Pod", pod(containers=[container], hostNetwork=True))
    assert obj["spec"]["containers"][0]["ports"][0]["hostPort"] == 80


def test_what_real_manifests_carry_is_kept(make: Any) -> None:
    extra = {
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}}]}},
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
    }  # fmt: skip
    obj, errors = make("Pod", pod(**copy.deepcopy(extra)))
    assert errors == []
    assert {name: obj["spec"][name] for name in extra} == extra


WEB = {"name": "web", "image": "web:1"}
REFUSED = [
    ({"containers": []}, "spec.containers", "Required"),
    ({"containers": [{"name": "web"}]}, "spec.containers[0].image", "Required"),
    ({"containers": [{"name": "We b", "image": "x"}]}, "spec.containers[0].name", "RFC 1123"),
    ({"initContainers": [WEB]}, "spec.containers[0].name", "Duplicate"),
    (
        {"containers": [WEB | {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
        "spec.containers[0].volumeMounts[0].name",
        "Not found",
    ),
    (
        {"containers": [WEB | {"livenessProbe": {}}]},
        "spec.containers[0].livenessProbe",
        "handler type",
    ),
    (
        {"containers": [WEB | {"livenessProbe": {"exec": {}, "successThreshold": 2}}]},
        "spec.containers[0].livenessProbe.successThreshold",
        "must be 1",
    ),
    (
        {"containers": [WEB | {"readinessProbe": {"exec": {}, "tcpSocket": {"port": 1}}}]},
        "spec.containers[0].readinessProbe.tcpSocket",
        "more than 1",
    ),
    (
        {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]},
        "spec.volumes[0]",
        "more than 1",
    ),
]


@pytest.mark.parametrize(("spec", "field", "text"), REFUSED)
def test_broken_pods(make: Any, spec: Any, field: str, text: str) -> None:
    _, errors = make("Pod", pod(**copy.deepcopy(spec)))
    assert [error.field for error in errors] == [field]
    assert text in errors[0].message


def test_a_quantity_must_be_one(kinds: Any) -> None:
    obj = pod(containers=[WEB | {"resources": {"limits": {"cpu": "100m", "memory": "64 MB"}}}])
    _, errors, _ = admit(kinds["v1", "Pod"], obj, "Strict")
    assert [e.field for e in errors] == ["spec.containers[0].resources.limits[memory]"]


def test_a_pod_keeps_its_spec_but_for_the_image(make: Any) -> None:
    old, _ = make("Pod", pod())
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["image"] = "web:2"
    assert make("Pod", new, old)[1] == []
    new["spec"]["hostNetwork"] = True
    assert [e.field for e in make("Pod", new, old)[1]] == ["spec"]


def workload(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod()["spec"]},
            **spec,
        },
    }


def test_deployment_defaults(make: Any) -> None:
    obj, errors = make("Deployment", workload())
    assert errors == []
    spec = {k: v for k, v in obj["spec"].items() if k not in ("selector", "template")}
    assert spec == {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        },
    }
    assert obj["spec"]["template"]["spec"]["restartPolicy"] == "Always"


def test_daemon_set_defaults(make: Any) -> None:
    obj, errors = make("DaemonSet", workload())
    assert errors == []
    rolling = {"maxSurge": 0, "maxUnavailable": 1}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert obj["spec"]["updateStrategy"] == strategy


BROKEN = [
    ({"selector": {}}, "spec.selector", "empty selector"),
    (
        {"selector": {"matchLabels": {"app": "other"}}},
        "spec.template.metadata.labels",
        "does not match",
    ),
    (
        {"template": {"metadata": {"labels": {"app": "web"}},
                      "spec": pod(restartPolicy="Never")["spec"]}},
        "spec.template.spec.restartPolicy",
        "Always",
    ),
    (
        {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
        "spec.template.spec.containers",
        "Required",
    ),
    (
        {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
        "spec.strategy.rollingUpdate.maxUnavailable",
        "may not be 0",
    ),
    (
        {"strategy": {"rollingUpdate": {"maxSurge": "many"}}},
        "spec.strategy.rollingUpdate.maxSurge",
        "percentage",
    ),
    (
        {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
        "spec.strategy.rollingUpdate",
        "may not be specified",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "field", "text"), BROKEN)
def test_broken_deployments(make: Any, spec: Any, field: str, text: str) -> None:
    _, errors = make("Deployment", workload(**copy.deepcopy(spec)))
    assert [error.field for error in errors] == [field]
    assert text in errors[0].message


def test_a_selector_is_immutable(make: Any) -> None:
    old, _ = make("Deployment", workload())
    new = copy.deepcopy(old)
    new["spec"]["selector"]["matchLabels"]["x"] = "y"
    new["spec"]["template"]["metadata"]["labels"]["x"] = "y"
    assert [e.field for e in make("Deployment", new, old)[1]] == ["spec.selector"]


def test_secret_texts_become_data(kinds: Any, allocator: Any) -> None:
    kind = kinds["v1", "Secret"]
    obj, errors, _ = admit(kind, {"metadata": {"name": "s"}, "stringData": {"a": "b"}}, "Strict")
    assert errors == []
    kind.default(obj, allocator())
    assert (obj["data"], obj["type"], "stringData" in obj) == ({"a": "Yg=="}, "Opaque", False)


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        ({"kind": "Secret", "data": {"a": "?"}}, "data[a]"),
        ({"kind": "ConfigMap", "data": {"a b": "c"}}, "data[a b]"),
        ({"kind": "ConfigMap", "binaryData": {"a": "?"}}, "binaryData[a]"),
    ],
)
def test_broken_data(kinds: Any, obj: Any, field: str) -> None:
    errors = kinds["v1", obj["kind"]].validate(obj, None)
    assert [error.field for error in errors] == [field]


def test_a_namespace_carries_its_name_as_a_label(kinds: Any, allocator: Any) -> None:
    obj: dict[str, Any] = {"metadata": {"name": "production"}}
    kinds["v1", "Namespace"].default(obj, allocator())
    assert obj["metadata"]["labels"] == {"kubernetes.io/metadata.name": "production"}
