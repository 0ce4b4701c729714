"""Pods of the lab's kubelet, against the real API server and the real kubectl."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubelet_bed import KubeletBed

from cairn.lab.images.table import is_installed

pytestmark = pytest.mark.root

SHELL = {"name": "main", "image": "toolbox"}


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {**SHELL, "command": ["sh", "-c", script], **more}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletBed]:
    made = KubeletBed(tmp_path_factory.mktemp("kubelet"))
    try:
        made.start()
        yield made
    finally:
        left = made.close()
    assert left == []


@pytest.fixture(scope="module")
def network(bed: KubeletBed) -> KubeletBed:
    conditions = {
        c["type"]: c["status"]
        for c in json.loads(bed.output("get", "node", bed.node, "-o", "json"))["status"][
            "conditions"
        ]
    }
    assert conditions["Ready"] == "False", "a node without a CNI configuration is not Ready"
    bed.create_pod("early", {"containers": [shell("sleep 1000")]})
    reasons = ("get", "events", "-o", "jsonpath={.items[*].reason}")
    bed.wait_for("the Event", lambda: "FailedCreatePodSandBox" in bed.output(*reasons))
    bed.start_network()
    bed.output("wait", "--for=condition=Ready", f"node/{bed.node}", "--timeout=15s")
    bed.wait_for("the early pod", lambda: bed.is_ready("early"))
    return bed


def test_node_shows_what_it_is(bed: KubeletBed) -> None:
    node = json.loads(bed.output("get", "node", bed.node, "-o", "json"))
    assert node["metadata"]["labels"]["node-role.kubernetes.io/worker"] == ""
    assert node["spec"]["podCIDR"] == "10.99.1.0/24"
    assert node["status"]["nodeInfo"]["kernelVersion"] == os.uname().release
    assert node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 10250
    lease = bed.output("get", "lease", "-n", "kube-node-lease", bed.node)
    assert bed.node in lease


def test_pod_sees_its_own_world(network: KubeletBed) -> None:
    script = (
        "echo $POD_NAME $GREETING; cat /etc/hostname; grep name /etc/resolv.conf; echo $$$$; "
        "ls /sys/class/net | tr '\\n' ' '; echo; cat /data/key /scratch/x; touch /made-here; "
        "wc -c < /var/run/secrets/kubernetes.io/serviceaccount/token; sleep 1000"
    )
    network.output("create", "configmap", "words", "--from-literal=key=from-a-map")
    name_field = {"fieldRef": {"fieldPath": "metadata.name"}}
    mounts = [{"name": "map", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/scratch"}]
    main = shell(
        script,
        env=[
            {"name": "POD_NAME", "valueFrom": name_field},
            {"name": "GREETING", "value": "hello-$(POD_NAME)"},
        ],
        volumeMounts=mounts,
    )
    first = shell("echo -n -written-first > /scratch/x", name="first", volumeMounts=mounts)
    volumes = [{"name": "map", "configMap": {"name": "words"}}, {"name": "tmp", "emptyDir": {}}]
    network.create_pod(
        "world", {"initContainers": [first], "containers": [main], "volumes": volumes}
    )
    network.wait_for("the pod", lambda: network.is_ready("world"))
    network.wait_for("its log", lambda: len(network.output("logs", "world").splitlines()) > 5)
    lines = network.output("logs", "world").splitlines()
    assert lines[:4] == ["world hello-world", "world", "nameserver 10.96.0.10", "1"]
    assert lines[4].split() == ["eth0", "lo"]
    assert lines[5].startswith("from-a-map-written-first")
    assert not Path("/made-here").exists(), "the pod wrote on the machine"
    status = network.status("world")
    assert status["podIP"].startswith("10.99.1.")
    assert status["phase"] == "Running"
    assert status["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"


def test_logs_options(network: KubeletBed) -> None:
    network.create_pod("talker", {"containers": [shell("seq 1 20; sleep 1000")]})
    network.wait_for("readiness", lambda: network.is_ready("talker"))
    network.wait_for("the log", lambda: network.output("logs", "talker").endswith("20\n"))
    assert network.output("logs", "talker", "--tail=3") == "18\n19\n20\n"
    assert network.output("logs", "talker", "--limit-bytes=4") == "1\n2\n"
    assert network.output("logs", "talker", "--since=1h").splitlines()[0] == "1"
    stamped = network.output("logs", "talker", "--timestamps", "--tail=1")
    assert stamped.startswith("20")
    assert stamped.endswith("Z 20\n")


def test_crash_loop_and_previous_log(network: KubeletBed) -> None:
    network.create_pod("crasher", {"containers": [shell("echo run; exit 7")]})

    def reason() -> bool:
        waiting = network.container("crasher").get("state", {}).get("waiting") or {}
        return waiting.get("reason") == "CrashLoopBackOff"

    network.wait_for("CrashLoopBackOff", reason)
    container = network.container("crasher")
    assert container["restartCount"] >= 1
    assert container["lastState"]["terminated"]["exitCode"] == 7
    assert network.output("logs", "crasher", "--previous") == "run\n"
    assert "CrashLoopBackOff" in network.output("get", "pod", "crasher")


def test_unknown_image_says_what_the_lab_can_run(network: KubeletBed) -> None:
    network.create_pod("stranger", {"containers": [{"name": "main", "image": "oracle:19"}]})

    def message() -> str:
        waiting = network.container("stranger").get("state", {}).get("waiting") or {}
        return str(waiting.get("message", "")) if "Image" in waiting.get("reason", "") else ""

    assert "it can run: web" in network.wait_for("ErrImagePull", message)
    refused = network.kubectl("logs", "stranger")
    assert refused.returncode == 1
    assert 'container "main" in pod "stranger" is waiting to start' in refused.stderr


def test_completed_pod(network: KubeletBed) -> None:
    network.create_pod("job", {"restartPolicy": "Never", "containers": [shell("echo done")]})
    network.wait_for("its end", lambda: network.status("job").get("phase") == "Succeeded")
    assert "Completed" in network.output("get", "pod", "job")
    assert network.output("logs", "job") == "done\n"


def test_readiness_and_liveness_of_the_web_image(network: KubeletBed) -> None:
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    main = {
        "name": "web",
        "image": "cairn.io/lab/web:latest",
        "readinessProbe": {**probe, "failureThreshold": 1},
    }
    network.create_pod("web", {"containers": [main]})
    network.wait_for("readiness", lambda: network.is_ready("web"))
    address = network.status("web")["podIP"]
    answer = network.run("curl", "-s", f"http://{address}:8080/json")
    assert json.loads(answer.stdout)["pod"] == "web"
    assert json.loads(answer.stdout)["node"] == network.node
    network.run("curl", "-s", "-X", "POST", f"http://{address}:8080/fail")
    network.wait_for("unreadiness", lambda: not network.is_ready("web"))
    network.run("curl", "-s", "-X", "POST", f"http://{address}:8080/recover")
    network.wait_for("readiness again", lambda: network.is_ready("web"))
    assert network.container("web")["restartCount"] == 0


@pytest.mark.parametrize(
    ("image", "program", "port"),
    [("nginx", "nginx", 80), ("iperf3", "iperf3", 5201), ("postgres", "postgres", 5432)],
)
def test_installed_programs_run(network: KubeletBed, image: str, program: str, port: int) -> None:
    if not is_installed(program):
        pytest.skip(f"needs program {program}")
    probe = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    network.create_pod(
        image, {"containers": [{"name": "a", "image": image, "readinessProbe": probe}]}
    )
    network.wait_for(image, lambda: network.is_ready(image))
    network.output("delete", "pod", image, "--timeout=20s")


def test_ignored_fields_are_told(network: KubeletBed) -> None:
    limited = shell("sleep 1000", resources={"limits": {"memory": "64Mi"}})
    network.create_pod("limited", {"containers": [limited]})
    network.wait_for("readiness", lambda: network.is_ready("limited"))
    told = ("get", "events", "--field-selector=reason=FieldIgnored", "-o", "wide")
    network.wait_for("the Event", lambda: "resources.limits" in network.output(*told))


def test_host_network_pod_lives_in_the_nodes_network(network: KubeletBed) -> None:
    script = "cat /proc/net/fib_trie | grep -c 169.254.1.1; hostname; sleep 1000"
    spec = {"hostNetwork": True, "containers": [shell(script)]}
    network.create_pod("onhost", spec)
    network.wait_for("readiness", lambda: network.is_ready("onhost"))
    network.wait_for("its log", lambda: network.output("logs", "onhost").count("\n") > 1)
    count, name = network.output("logs", "onhost").split()
    assert int(count) > 0
    assert name == network.node
    assert network.status("onhost")["podIP"] == "127.0.0.1"


def test_rollout_keeps_a_pod_of_the_same_name_apart(network: KubeletBed) -> None:
    for marker in ("one", "two"):
        network.create_pod("again", {"containers": [shell(f"echo {marker}; sleep 1000")]})
        network.wait_for("readiness", lambda: network.is_ready("again"))
        network.wait_for("its log", lambda: network.output("logs", "again") != "")
        assert network.output("logs", "again") == f"{marker}\n"
        network.output("delete", "pod", "again", "--grace-period=1", "--timeout=20s")


def test_liveness_restarts(network: KubeletBed) -> None:
    probe = {"exec": {"command": ["test", "-e", "/ok"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "touch /ok; sleep 2; rm /ok; sleep 1000"
    network.create_pod("sick", {"containers": [shell(script, livenessProbe=probe)]})
    network.wait_for("a restart", lambda: network.container("sick").get("restartCount", 0) >= 1)
    assert "Liveness probe failed" in network.output("get", "events")


def test_graceful_deletion(network: KubeletBed) -> None:
    script = "trap 'echo ending; sleep 1; echo ended; exit 0' TERM; while :; do sleep 0.1; done"
    network.create_pod("gentle", {"containers": [shell(script)]})
    network.wait_for("readiness", lambda: network.is_ready("gentle"))
    follow = network.processes["follow"] = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{network.netns}", "kubectl",
         f"--kubeconfig={network.kubeconfig}", "logs", "-f", "gentle"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    uid = network.pod("gentle")["metadata"]["uid"]
    netns = Path(f"/run/netns/{network.lab.netns('pod-' + uid[:8])}")
    assert netns.exists()
    network.output("delete", "pod", "gentle", "--timeout=20s")
    output, _ = follow.communicate(timeout=10)
    assert output == b"ending\nended\n"
    assert not netns.exists()
    assert not (network.lab.group / network.node / "pods" / uid).exists()


def test_stubborn_pod_is_killed_after_its_grace(network: KubeletBed) -> None:
    network.create_pod("stubborn", {"containers": [shell("trap '' TERM; sleep 1000")]})
    network.wait_for("readiness", lambda: network.is_ready("stubborn"))
    network.output("delete", "pod", "stubborn", "--grace-period=1", "--timeout=10s")
    assert network.pod("stubborn") == {}


def test_pods_outlive_a_killed_kubelet(network: KubeletBed) -> None:
    network.create_pod("survivor", {"containers": [shell("while :; do date; sleep 0.2; done")]})
    network.create_pod("doomed", {"containers": [shell("sleep 1000")]})
    both = ("survivor", "doomed")
    network.wait_for("readiness", lambda: all(network.is_ready(name) for name in both))
    before = network.container("survivor")
    network.kill("kubelet", signal.SIGKILL)
    network.output("delete", "pod", "doomed", "--wait=false")
    network.start_kubelet()
    network.wait_for("the deletion", lambda: network.pod("doomed") == {})
    assert network.container("survivor") == before
    size = len(network.output("logs", "survivor"))
    network.wait_for("more log", lambda: len(network.output("logs", "survivor")) > size)
    assert network.output("exec", "survivor", "--", "echo", "alive") == "alive\n"
