"""What people type: every kubectl on the whole lab, and the two Python clients."""

import itertools
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubectl_run import Kubectl
from kubectls import TOOLS, require
from lab_run import VIP, LabRun, wait_for
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import ConfigMap, Node
from test_scenario import WEB, settled

pytestmark = [pytest.mark.lab, pytest.mark.root]

DOCUMENT = Path(__file__).parents[1] / "vectors" / "scenario"


@pytest.fixture(scope="module", params=list(TOOLS.values()), ids=list(TOOLS))
def kube(request: pytest.FixtureRequest, lab: LabRun) -> Iterator[Kubectl]:
    """One kubectl, in a namespace that goes when its tests are done."""
    index = list(TOOLS.values()).index(request.param)
    made = Kubectl(require(request.param), lab.kubeconfig, f"typed-{index}")
    made("create", "namespace", made.namespace)
    yield made
    made("delete", "namespace", made.namespace, "--timeout=60s")


@pytest.fixture(scope="module")
def newest(lab: LabRun) -> Kubectl:
    """The PATH's kubectl, in the default namespace."""
    return Kubectl(require(next(iter(TOOLS.values()))), lab.kubeconfig, "default")


@pytest.fixture(scope="module")
def box(kube: Kubectl) -> str:
    """A pod with a shell."""
    kube.run_pod("box", "sleep", "infinity")
    kube("wait", "--for=condition=Ready", "pod/box", "--timeout=20s")
    return "box"


def knows(kube: Kubectl, *words: str) -> bool:
    """Return whether this kubectl has a command; 1.20 lacks some."""
    return f"kubectl {' '.join(words)} [" in kube(*words, "--help", status=None)


def test_get_in_every_form(kube: Kubectl, lab: LabRun) -> None:
    there = ("-n", "default")
    assert kube("get", "svc", "my-web-app", *there, "-o", "jsonpath={.spec.ports[0].port}") == "80"
    assert kube.read("svc", "my-web-app", *there)["spec"]["selector"] == {"app": "web-app"}
    assert "app=web-app" in kube("get", "svc", "my-web-app", *there, "-o", "wide")
    names = kube("get", "pods", "-l", WEB, *there, "-o", "name").split()
    assert names == [f"pod/{pod['metadata']['name']}" for pod in lab.pods(WEB)]
    columns = "custom-columns=N:.metadata.name,NODE:.spec.nodeName"
    on_node = kube("get", "pods", *there, "-o", columns, "--field-selector=spec.nodeName=node-2")
    assert {line.split()[1] for line in on_node.splitlines()[1:]} == {"node-2"}
    # Of Services: kubectl takes digits for numbers, and pods' names end in what chance gave.
    sorted_ = kube("get", "svc", "-A", "--sort-by=.metadata.name", "--no-headers")
    found = [line.split()[1] for line in sorted_.splitlines()]
    assert found == sorted(found)
    assert "No resources found in" in kube("get", "pods", "-l", "app=none")
    assert 'pods "none" not found' in kube("get", "pod", "none", status=1)
    assert "a resource type" in kube("get", "nonsense", status=1)
    template = "go-template={{range .items}}{{.metadata.name}} {{end}}"
    assert kube("get", "nodes", "-o", template) == "node-1 node-2 node-3 "


def test_watch_shows_what_changes(kube: Kubectl) -> None:
    selected = ("-l", "app=seen", "--field-selector=metadata.name!=hidden", "--no-headers")
    with kube.start("get", "configmaps", "--watch", "--output-watch-events", *selected) as watch:
        for name in ("hidden", "shown"):
            kube.apply(config_map(name, labels={"app": "seen"}))
        watch.until("ADDED")
        kube("patch", "configmap", "shown", "-p", '{"data":{"b":"2"}}')
        watch.until("MODIFIED")
        kube("delete", "configmap", "hidden", "shown")
        assert "hidden" not in watch.until("DELETED")


def test_watch_draws_rows_as_they_change(kube: Kubectl) -> None:
    with kube.start("get", "pods", "-w", "-l", "run=watched") as watch:
        kube.run_pod("watched", "sleep", "infinity")
        watch.until("1/1     Running")
        assert watch.text.split("\n")[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        kube("delete", "pod", "watched", "--wait=false")
        watch.until("Terminating")


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": {"a": "1"},
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("svc", "my-web-app"), [VIP, "80/TCP", "AddressGiven", "cairn-operator"]),
        (("pod", "-l", WEB), ["Readiness:", "Scheduled", "Started container", "ReplicaSet/my-web"]),
        (("deployment", "my-web-app"), ["3 desired", "ScalingReplicaSet", "Available      True"]),
        (
            ("node", "node-1"),
            ["InternalIP:  192.168.1.10", "KubeletReady", "kube-system", "Events"],
        ),
        (("ds", "cairn", "-n", "kube-system"), ["Pods Status:  3 Running", "agent:", "speaker:"]),
        (("ciliumloadbalancerippool", "homelab-pool"), ["Cidrs:", "Conditions:", "Events:"]),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_describe_tells_the_story(kube: Kubectl, words: tuple[str, ...], says: list[str]) -> None:
    text = kube("describe", "-n", "default", *words)
    assert [part for part in says if part not in text] == []
    assert "Events:" in text


def test_explain_goes_down_to_the_fields(kube: Kubectl) -> None:
    text = kube("explain", "service.spec.ports", "--recursive")
    assert [name for name in ("nodePort", "protocol", "targetPort") if name not in text] == []
    assert "serviceSelector" in kube("explain", "ciliumloadbalancerippool.spec")
    assert "<string>" in kube("explain", "pod.spec.nodeName")
    kube("explain", "service.nonsense", status=1)


def test_apply_and_diff(kube: Kubectl) -> None:
    first, second = config_map("settings"), config_map("settings") | {"data": {"b": "2"}}
    assert "created" in kube.apply(first)
    assert "unchanged" in kube.apply(first)
    manifest = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}'
    assert "+  c: " in kube("diff", "-f", "-", stdin=manifest + ', "data": {"c": "3"}}', status=1)
    assert "configured" in kube.apply(second)
    assert kube.read("configmap", "settings")["data"] == {"b": "2"}
    assert kube("diff", "-f", "-", stdin=manifest + ', "data": {"b": "2"}}') == ""
    refused = kube("apply", "-f", "-", stdin=manifest + ', "dato": {}}', status=1)
    assert 'unknown field "dato"' in refused


def test_server_side_apply(kube: Kubectl) -> None:
    how = ("--server-side", "--field-manager=tests")
    assert "serverside-applied" in kube.apply(config_map("server"), how=how)
    kube.apply(config_map("server") | {"data": {"b": "2"}}, how=how)
    assert kube.read("configmap", "server")["data"] == {"b": "2"}
    other = config_map("server") | {"data": {"b": "3"}}
    text = kube("apply", "--server-side", "--field-manager=others", "-f", "-",
                stdin=repr(other).replace("'", '"'), status=1)  # fmt: skip
    assert "conflict" in text


def test_the_documents_manifests_go_on_from_the_labs(kube: Kubectl, lab: LabRun) -> None:
    settled(lab)
    for name in ("my-web-app-service", "cilium-service-pool", "cilium-bgp-config"):
        text = kube("apply", "-n", "default", "-f", str(DOCUMENT / f"{name}.yaml"))
        assert "last-applied" not in text
    assert lab.get("svc", "my-web-app")["metadata"]["labels"] == {
        "io.cilium/lb-ipam-ips": "pool-homelab"
    }
    settled(lab)


def test_a_deployments_life(kube: Kubectl) -> None:
    deployment, status = "deployment/app", ("rollout", "status", "deployment/app", "--timeout=30s")
    kube("create", "deployment", "app", "--image=web", "--port=8080")
    kube("expose", "deployment", "app", "--port=80", "--target-port=8080")
    kube("scale", deployment, "--replicas=2")
    assert "successfully rolled out" in kube(*status)
    kube("wait", "--for=condition=Available", deployment, "--timeout=20s")
    wait_for("two endpoints", lambda: kube.rows("ep", "app")[1][1].count(":8080") == 2)
    name = kube("get", deployment, "-o", "jsonpath={.spec.template.spec.containers[0].name}")
    kube("set", "image", deployment, f"{name}=httpbin")
    assert "successfully rolled out" in kube(*status)
    kube("rollout", "restart", deployment)
    kube(*status)
    history = kube("rollout", "history", deployment)
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2", "3"]
    kube("rollout", "undo", deployment, "--to-revision=1")
    kube(*status)
    images = kube("get", "pods", "-l", "app=app", "-o", "jsonpath={..image}")
    wait_for("old pods gone", lambda: len(kube.rows("pods", "-l", "app=app")) == 3)
    assert "web" in images.split()
    kube("delete", "deployment,service", "app")
    wait_for("no pods", lambda: "No resources" in kube("get", "pods", "-l", "app=app"))


def test_restart_of_the_daemon_set(newest: Kubectl, lab: LabRun) -> None:
    settled(lab)
    where = ("-n", "kube-system")
    before = set(newest("get", "pods", "-l", "k8s-app=cairn", "-o", "name", *where).split())
    newest("rollout", "restart", "ds/cairn", *where)
    said = newest("rollout", "status", "ds/cairn", "--timeout=60s", *where)
    assert "successfully rolled out" in said
    after = set(newest("get", "pods", "-l", "k8s-app=cairn", "-o", "name", *where).split())
    assert not before & after
    history = newest("rollout", "history", "ds/cairn", *where).splitlines()[2:]
    assert [line.split()[0] for line in history if line] == ["1", "2"]
    newest("rollout", "undo", "ds/cairn", *where)
    newest("rollout", "status", "ds/cairn", "--timeout=60s", *where)
    revisions = newest.rows("controllerrevisions", "-l", "k8s-app=cairn", *where)[1:]
    assert sorted(row[2] for row in revisions) == ["2", "3"]
    settled(lab)


def test_label_and_annotate(kube: Kubectl, box: str) -> None:
    for verb, field in (("label", "labels"), ("annotate", "annotations")):
        kube(verb, "pod", box, "team=net")
        assert kube.read("pod", box)["metadata"][field]["team"] == "net"
        assert "overwrite" in kube(verb, "pod", box, "team=other", status=1)
        kube(verb, "pod", box, "team=other", "--overwrite")
        kube(verb, "pod", box, "team-")
        assert "team" not in kube.read("pod", box)["metadata"].get(field, {})


def test_logs_follow_and_end(kube: Kubectl) -> None:
    kube.run_pod("talker", "sh", "-c", "echo one; sleep 1; echo two")
    wait_for("first line", lambda: "one" in kube("logs", "talker", status=None))
    with kube.start("logs", "-f", "talker") as stream:
        assert stream.end() == 0
    assert stream.text == "one\ntwo\n"
    assert kube("logs", "talker", "--tail=1", "--since=10m") == "two\n"
    assert kube("logs", "talker", "--since-time=2100-01-01T00:00:00Z") == ""


def test_logs_of_the_one_before(kube: Kubectl) -> None:
    kube.run_pod("crasher", "sh", "-c", "echo run $$; exit 3", restartPolicy="Always")
    wait_for("a restart", lambda: kube.rows("pod", "crasher")[1][3] != "0")
    assert kube("logs", "crasher", "--previous").startswith("run ")
    wait_for("the word", lambda: kube.rows("pod", "crasher")[1][2] == "CrashLoopBackOff")
    state = kube.read("pod", "crasher")["status"]["containerStatuses"][0]
    assert state["lastState"]["terminated"]["exitCode"] == 3
    kube("delete", "pod", "crasher", "--grace-period=0", "--force")


def test_logs_of_containers_and_workloads(kube: Kubectl) -> None:
    where = ("-n", "kube-system")
    assert "Established" in kube("logs", "ds/cairn", "-c", "speaker", *where)
    assert "agent" in kube("logs", "ds/cairn", "--tail=5", *where)
    assert "container" in kube("logs", "ds/cairn", "-c", "none", *where, status=1)
    prefixed = kube("logs", "-l", "k8s-app=cairn", "--prefix", "--tail=1", *where)
    assert prefixed.count("/agent]") == 3


def test_exec_on_a_terminal(kube: Kubectl, box: str) -> None:
    with kube.terminal("exec", "-it", box, "--", "sh") as (screen, keyboard):
        os.write(keyboard, b"tty && hostname\n")
        screen.until("/dev/pts/")
        os.write(keyboard, b"echo $((40 + 2)); exit 9\n")
        screen.until("42")
        assert screen.end() == 9


def test_exec_hands_on_the_exit_status(kube: Kubectl, box: str) -> None:
    assert kube("exec", box, "--", "hostname") == "box\n"
    assert kube("exec", "-i", box, "--", "cat", stdin="typed\n") == "typed\n"
    assert "exit code 5" in kube("exec", box, "--", "sh", "-c", "exit 5", status=5)
    kube("exec", "-n", "kube-system", "ds/cairn", "-c", "speaker", "--", "true")
    assert "not found" in kube("exec", "nobody", "--", "true", status=1)


def test_copy_in_and_out(kube: Kubectl, box: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(bytes(range(256)) * 1000)
    kube("cp", str(tmp_path / "folder"), f"{box}:/tmp/{kube.namespace}")
    kube("cp", f"{box}:/tmp/{kube.namespace}/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "folder" / "file").read_bytes()


@pytest.mark.parametrize("target", ["svc/my-web-app", "deployment/my-web-app"])
def test_port_forward(kube: Kubectl, lab: LabRun, target: str) -> None:
    settled(lab)
    port = "80" if target.startswith("svc") else "8080"
    with kube.start("port-forward", "-n", "default", target, f":{port}") as tunnel:
        tunnel.until("Forwarding from 127.0.0.1:")
        local = tunnel.until("->").split("127.0.0.1:")[1].split(" ")[0]
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{local}/", timeout=5) as page:
                assert b"pod: my-web-app-" in page.read()


def test_delete_waits_for_the_grace(kube: Kubectl) -> None:
    deaf = ("sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    for name in ("deaf-1", "deaf-2"):
        kube.run_pod(name, *deaf)
        kube("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=20s")
    began = time.monotonic()
    kube("delete", "pod", "deaf-1", "--grace-period=2")
    assert 1.5 < time.monotonic() - began < 8
    assert "force deleted" in kube("delete", "pod", "deaf-2", "--grace-period=0", "--force")
    wait_for("it is gone", lambda: "No resources" in kube("get", "pods", "-l", "run=deaf-2"))


def test_cordon_drain_uncordon(kube: Kubectl) -> None:
    kube("create", "deployment", "moved", "--image=web", "--replicas=3")
    kube("rollout", "status", "deployment/moved", "--timeout=30s")

    def nodes() -> set[str]:
        found = kube("get", "pods", "-l", "app=moved", "-o", "jsonpath={..nodeName}")
        return set(found.split())

    try:
        kube("cordon", "node-3")
        assert kube.rows("node", "node-3")[1][1] == "Ready,SchedulingDisabled"
        kube("drain", "node-3", "--ignore-daemonsets", "--pod-selector=app=moved", "--timeout=60s")
        kube("rollout", "status", "deployment/moved", "--timeout=30s")
        wait_for("pods elsewhere", lambda: nodes() == {"node-1", "node-2"})
    finally:
        kube("uncordon", "node-3")
    assert kube.rows("node", "node-3")[1][1] == "Ready"
    kube("delete", "deployment", "moved")


def test_who_one_is_and_what_one_may(kube: Kubectl) -> None:
    assert kube("auth", "can-i", "create", "pods").strip() == "yes"
    assert "*.*" in kube("auth", "can-i", "--list")
    if knows(kube, "auth", "whoami"):
        assert "system:masters" in kube("auth", "whoami")


def test_what_the_server_lacks_is_said(kube: Kubectl, box: str) -> None:
    assert "Metrics API not available" in kube("top", "pods", status=1)
    refused = kube("debug", box, "--image=toolbox", "--", "true", status=1)
    assert "ephemeral containers are disabled" in refused
    assert "could not find the requested" in kube("create", "job", "j", "--image=toolbox", status=1)


def test_what_the_server_has(kube: Kubectl) -> None:
    resources = kube("api-resources", "--namespaced=true", "-o", "name").split()
    assert {"pods", "services", "deployments.apps", "ciliumendpoints.cilium.io"} <= set(resources)
    assert "cilium.io/v2" in kube("api-versions").split()
    assert "Server Version: " in kube("version")
    assert "running at" in kube("cluster-info")


def test_events_tell_what_happened(kube: Kubectl, box: str) -> None:
    header, *rows = kube.rows("events", "--field-selector=involvedObject.name=box")
    assert header == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert {row[2] for row in rows} >= {"Scheduled", "Pulled", "Created", "Started"}
    if knows(kube, "events"):
        assert "Scheduled" in kube("events", "--for", "pod/box")


def test_run_a_throw_away_pod(kube: Kubectl) -> None:
    words = ("run", "once", "--rm", "-it", "--image=toolbox", "--restart=Never", "--", "sh")
    with kube.terminal(*words) as (screen, keyboard):
        screen.until("# ")
        os.write(keyboard, b"echo $((6 * 7)); exit\n")
        screen.until("42")
        assert screen.end() == 0
    assert 'pod "once" deleted' in screen.text
    assert "No resources" in kube("get", "pods", "-l", "run=once")


TABLES = {
    "nodes": "NAME STATUS ROLES AGE VERSION | INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION"
    " CONTAINER-RUNTIME",
    "pods": "NAME READY STATUS RESTARTS AGE | IP NODE NOMINATED NODE READINESS GATES",
    "svc": "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE | SELECTOR",
    "deploy": "NAME READY UP-TO-DATE AVAILABLE AGE | CONTAINERS IMAGES SELECTOR",
    "rs": "NAME DESIRED CURRENT READY AGE | CONTAINERS IMAGES SELECTOR",
    "ds": "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE | CONTAINERS IMAGES"
    " SELECTOR",
    "controllerrevisions": "NAME CONTROLLER REVISION AGE",
    "endpoints": "NAME ENDPOINTS AGE",
    "endpointslices": "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
    "cm": "NAME DATA AGE",
    "secrets": "NAME TYPE DATA AGE",
    "sa": "NAME SECRETS AGE",
    "leases": "NAME HOLDER AGE",
    "netpol": "NAME POD-SELECTOR AGE",
    "ns": "NAME STATUS AGE",
    "crd": "NAME CREATED AT",
    "roles": "NAME CREATED AT",
    "rolebindings": "NAME ROLE AGE | USERS GROUPS SERVICEACCOUNTS",
    "clusterroles": "NAME CREATED AT",
    "clusterrolebindings": "NAME ROLE AGE | USERS GROUPS SERVICEACCOUNTS",
}
"""Kubernetes' own columns; behind the bar those of -o wide."""
CLUSTER_WIDE = {"nodes", "ns", "crd", "clusterroles", "clusterrolebindings"}


def test_every_table_has_kubernetes_columns(newest: Kubectl) -> None:
    newest("create", "role", "reader", "--verb=get", "--resource=pods")
    newest("create", "rolebinding", "readers", "--role=reader", "--user=alice")
    newest("create", "secret", "generic", "hidden", "--from-literal=a=1")
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    spec = {"podSelector": {"matchLabels": {"app": "none"}}}
    newest.apply(policy | {"metadata": {"name": "none"}, "spec": spec})
    try:
        for where, wide in itertools.product(((), ("-A",)), (False, True)):
            kinds = [kind for kind in TABLES if (kind in CLUSTER_WIDE) == (not where)]
            form = ("-o", "wide") if wide else ()
            text = newest("get", ",".join(kinds), *where, *form)
            headers = [block.split("\n")[0].split() for block in text.strip().split("\n\n")]
            wanted = [TABLES[kind].split("|") for kind in kinds]
            columns = [(narrow + " ".join(more) * wide).split() for narrow, *more in wanted]
            assert headers == [["NAMESPACE"] * bool(where) + names for names in columns]
    finally:
        for kind, name in (("role", "reader"), ("rolebinding", "readers"),
                           ("secret", "hidden"), ("netpol", "none")):  # fmt: skip
            newest("delete", kind, name)


def test_the_official_python_client(lab: LabRun) -> None:
    official: Any = kubernetes
    core = official.client.CoreV1Api(official.config.new_client_from_config(lab.kubeconfig))
    assert len(core.list_node().items) == 3
    service = core.read_namespaced_service("my-web-app", "default")
    assert service.status.load_balancer.ingress[0].ip == VIP
    body = {"metadata": {"name": "official", "labels": {"by": "official"}}, "data": {"a": "1"}}
    core.create_namespaced_config_map("default", body)
    watch = official.watch.Watch()
    seen = []
    for event in watch.stream(
        core.list_namespaced_config_map, "default", label_selector="by=official", timeout_seconds=20
    ):
        seen.append((event["type"], event["object"].data))
        if event["type"] == "ADDED":
            core.patch_namespaced_config_map("official", "default", {"data": {"a": "2"}})
        elif event["type"] == "MODIFIED":
            core.delete_namespaced_config_map("official", "default")
        else:
            watch.stop()
    assert seen == [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "2"}), ("DELETED", {"a": "2"})]


def test_lightkube(lab: LabRun) -> None:
    client = Client(KubeConfig.from_file(lab.kubeconfig), namespace="default")
    assert sum(1 for _ in client.list(Node)) == 3
    made: Any = ConfigMap.from_dict(config_map("light", labels={"by": "lightkube"}))
    client.create(made)
    seen = []
    for event, found in client.watch(ConfigMap, labels={"by": "lightkube"}, server_timeout=20):
        seen.append((event, found.data))
        if event == "ADDED":
            client.patch(ConfigMap, "light", {"data": {"a": "2"}})
        elif event == "MODIFIED":
            client.delete(ConfigMap, "light")
        else:
            break
    assert seen == [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "2"}), ("DELETED", {"a": "2"})]
