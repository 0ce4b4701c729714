"""The real kubectl, old and new, against the real process."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

from apiserver_bed import Process

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "nginx:1", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boxes.x.io}
spec:
  group: x.io
  scope: Namespaced
  names: {plural: boxes, kind: Box, shortNames: [bx]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer, description: How large it is.}}}
"""
BOX = "apiVersion: x.io/v1\nkind: Box\nmetadata: {name: b}\nspec: {size: 3}\n"
Kubectl = Callable[..., str]


def test_apply_twice_change_and_delete(kubectl: Kubectl) -> None:
    assert "deployment.apps/web created" in kubectl("apply", "-f", "-", given=WEB)
    assert "service/web unchanged" in kubectl("apply", "-f", "-", given=WEB)
    changed = kubectl("apply", "-f", "-", given=WEB.replace("replicas: 3", "replicas: 4"))
    assert "deployment.apps/web configured" in changed
    wide = kubectl("get", "deploy,svc", "-o", "wide").split("\n")
    assert wide[0].split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert any("0/4" in line and "nginx:1" in line for line in wide)
    assert any("LoadBalancer" in line and "<pending>" in line for line in wide)
    assert "deleted" in kubectl("delete", "-f", "-", given=WEB)
    assert "not found" in kubectl("get", "deploy", "web", check=False).lower()


def test_edit_verbs(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=WEB)
    kubectl("label", "deploy", "web", "tier=front")
    kubectl("annotate", "deploy", "web", "note=x")
    kubectl("scale", "deploy", "web", "--replicas=7")
    kubectl("set", "image", "deploy/web", "web=nginx:2")
    kubectl("rollout", "restart", "deploy/web")
    kubectl("patch", "deploy", "web", "-p", '{"spec":{"paused":true}}')
    kubectl("patch", "deploy", "web", "--type=json",
            "-p", '[{"op":"add","path":"/metadata/labels/json","value":"yes"}]')  # fmt: skip
    web = json.loads(kubectl("get", "deploy", "web", "-o", "json"))
    assert web["metadata"]["labels"] == {"app": "web", "tier": "front", "json": "yes"}
    assert web["spec"]["replicas"] == 7
    assert web["spec"]["paused"] is True
    pod = web["spec"]["template"]
    assert pod["spec"]["containers"][0]["image"] == "nginx:2"
    assert "kubectl.kubernetes.io/restartedAt" in pod["metadata"]["annotations"]
    assert "web" in kubectl("get", "deploy", "-l", "tier in (front)", "-o", "name")
    assert "web" not in kubectl("get", "deploy", "-l", "tier!=front", "-o", "name")


def test_creation_by_command(kubectl: Kubectl) -> None:
    """Current kubectl sends these in protobuf, old ones in JSON."""
    kubectl("create", "ns", "mine")
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=0", "--port=80")
    kubectl("create", "configmap", "conf", "--from-literal=a=b")
    kubectl("create", "secret", "generic", "hidden", "--from-literal=a=b")
    kubectl("create", "service", "clusterip", "front", "--tcp=80:8080")
    kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    kubectl("expose", "deployment", "web", "--port=81")
    web = json.loads(kubectl("get", "deploy", "web", "-o", "json"))
    assert web["spec"]["replicas"] == 0
    assert web["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] == 80
    front = json.loads(kubectl("get", "svc", "front", "-o", "json"))
    assert front["spec"]["ports"][0]["targetPort"] == 8080
    assert json.loads(kubectl("get", "secret", "hidden", "-o", "json"))["data"] == {"a": "Yg=="}
    assert json.loads(kubectl("get", "cm", "conf", "-o", "json"))["data"] == {"a": "b"}
    assert json.loads(kubectl("get", "svc", "web", "-o", "json"))["spec"]["selector"] == {
        "app": "web"
    }


def test_a_pod_is_run_evicted_and_its_node_drained(kubectl: Kubectl) -> None:
    node = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n"
    kubectl("apply", "-f", "-", given=node)
    kubectl("run", "p", "--image=i", "--restart=Never", "--overrides",
            '{"apiVersion":"v1","spec":{"nodeName":"n1"}}')  # fmt: skip
    kubectl("drain", "n1", "--force", "--grace-period=0", "--timeout=10s")
    assert "not found" in kubectl("get", "pod", "p", check=False).lower()
    assert json.loads(kubectl("get", "node", "n1", "-o", "json"))["spec"]["unschedulable"] is True
    kubectl("uncordon", "n1")


def test_server_side_apply(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", given=WEB)
    conflict = kubectl("apply", "--server-side", "--field-manager=other", "-f", "-",
                       given=WEB.replace("replicas: 3", "replicas: 5"), check=False)  # fmt: skip
    assert "conflict" in conflict
    assert "replicas" in conflict


def test_words_about_the_api(kubectl: Kubectl) -> None:
    resources = kubectl("api-resources")
    assert "deployments" in resources
    assert "customresourcedefinitions" in resources
    assert "apps/v1" in kubectl("api-versions")
    explained = kubectl("explain", "service.spec.ports")
    assert "nodePort" in explained
    assert "Port" in kubectl("explain", "pod.spec.containers", "--recursive")
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    described = kubectl("describe", "svc", "kubernetes")
    assert "10.96.0.1" in described
    assert "Server Version" in kubectl("version")


def test_a_mistake_is_refused_with_its_place(kubectl: Kubectl) -> None:
    wrong = kubectl("apply", "-f", "-", given=WEB.replace("replicas:", "replcas:"), check=False)
    assert "replcas" in wrong
    bad = kubectl(
        "apply", "-f", "-", given=WEB.replace("port: 80}]}", "port: 80000}]}"), check=False
    )
    assert "80000" in bad


def test_a_custom_kind(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=CRD)
    kubectl("wait", "--for=condition=Established", "crd/boxes.x.io", "--timeout=10s")
    kubectl("apply", "-f", "-", given=BOX)
    assert kubectl("get", "bx").split()[:3] == ["NAME", "SIZE", "b"]
    assert "How large it is" in kubectl("explain", "box.spec.size")
    wrong = kubectl("apply", "-f", "-", given=BOX.replace("3", "wide"), check=False)
    assert "integer" in wrong
    kubectl("delete", "crd", "boxes.x.io")


def test_wait_for_a_condition_and_for_deletion(api: Process, kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\n")
    waiting = subprocess.Popen(
        ["kubectl", "--kubeconfig", str(api.kubeconfig), "wait", "--for=delete", "cm/w",
         "--timeout=20s"], stdout=subprocess.PIPE,
    )  # fmt: skip
    kubectl("delete", "cm", "w")
    assert waiting.wait(25) == 0


def test_watch_shows_changes(api: Process, kubectl: Kubectl, wait_for: Callable[..., Any]) -> None:
    kubectl("apply", "-f", "-", given=WEB)
    log = api.data / "watch"
    with log.open("w") as file:
        watching = subprocess.Popen(
            ["kubectl", "--kubeconfig", str(api.kubeconfig), "get", "deploy", "-w"], stdout=file
        )
    try:
        wait_for(lambda: "0/3" in log.read_text())
        kubectl("scale", "deploy", "web", "--replicas=8")
        wait_for(lambda: "0/8" in log.read_text())
    finally:
        watching.terminate()
        watching.wait()
    assert log.read_text().count("NAME") == 1


def test_a_long_list_comes_in_pages(kubectl: Kubectl) -> None:
    many = "\n---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n:03d}}}" for n in range(40)
    )
    kubectl("create", "-f", "-", given=many)
    names = kubectl("get", "cm", "--chunk-size=7", "-o", "name").split()
    assert [name for name in names if "/c0" in name] == [f"configmap/c{n:03d}" for n in range(40)]
