"""The objects, clients and questions of the Service tests.

Three servers stand behind most Services: `one` on node-1, `two` on node-2, and `three`, which has
the network of node-3 itself. Six clients ask: a host on the LAN behind the router, a host in the
nodes' subnet, two nodes and two pods.
"""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lab_run import CAIRN, PYTHON, ROOT, LabRun, wait_for

NAMESPACE = "kinds"
ANSWER = str(ROOT / "tests" / "beds" / "answer.py")
ASK = str(ROOT / "tests" / "beds" / "ask.py")
PORT = 8080
HOST_PORT = 18080
NODE_ADDRESSES = {
    "node-1": ("192.168.1.10", "fd00:1::a"),
    "node-2": ("192.168.1.11", "fd00:1::b"),
    "node-3": ("192.168.1.12", "fd00:1::c"),
}
HOSTS = {
    "client-1": ("192.168.50.10", "fd00:50::a"),
    "client-2": ("192.168.1.50", "fd00:1::32"),
    "node-1": NODE_ADDRESSES["node-1"],
    "node-3": NODE_ADDRESSES["node-3"],
}
PODS = ("near", "far")
"""Client pods: `near` shares node-1 with a server, `far` is alone on node-3."""
CLIENTS = (*HOSTS, *PODS)
OUTSIDE = ("client-1", "client-2")
INSIDE = ("node-1", "node-3", *PODS)
VIPS = ("192.168.1.200", "fd00:100::c8")


@dataclass(frozen=True)
class Case:
    """What one kind of Service does for some clients."""

    behaviour: str
    """What Kubernetes says, or what Cairn promises beyond it."""
    service: str
    """Which Service is asked; empty: see `address`."""
    port: int = 80
    protocol: str = "tcp"
    clients: tuple[str, ...] = CLIENTS
    address: tuple[str, str] | str = ""
    """Where: IPv4 and IPv6 addresses; `vip`, or by default the cluster IPs."""
    by: tuple[str, ...] = ("one", "two")
    """Servers that may answer; every one of them must, if `all_of`."""
    all_of: bool = True
    error: tuple[str, ...] = ()
    """Errors that are expected in place of answers."""
    times: int = 24
    pad: int = 0
    families: tuple[int, ...] = (4, 6)

    @property
    def name(self) -> str:
        """A short name for the test's id."""
        return f"{self.service or 'address'}-{self.protocol}{self.port}-{self.behaviour}"


def pod(name: str, node: str, labels: dict[str, str], **spec: Any) -> dict[str, Any]:
    """Return a pod that sleeps, for clients."""
    container = {"name": "main", "image": "toolbox"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        },
    }


def server(
    name: str,
    node: str,
    *ports: int,
    labels: dict[str, str] | None = None,
    host: bool = False,
    container: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a pod that runs answer.py."""
    listening = ports or (PORT,)
    made = pod(name, node, {"server": name, **(labels or {})}, hostNetwork=host)
    made["spec"]["containers"][0] |= {
        "command": [PYTHON, ANSWER, name, *map(str, listening)],
        "ports": [{"name": "answers", "containerPort": listening[0]}],
        "readinessProbe": {
            "tcpSocket": {"port": listening[0]},
            "periodSeconds": 1,
        },
        **(container or {}),
    }
    return made


def service(name: str, selector: dict[str, str], **spec: Any) -> dict[str, Any]:
    """Return a dual-stack Service of one TCP and one UDP port."""
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"kinds": "yes"}},
        "spec": {
            "ipFamilyPolicy": "RequireDualStack",
            "selector": selector,
            "ports": [
                {"name": "tcp", "port": 80, "targetPort": "answers"},
                {"name": "udp", "port": 81, "targetPort": PORT, "protocol": "UDP"},
            ],
            **spec,
        },
    }
    annotations = made["spec"].pop("annotations", None)
    if annotations:
        made["metadata"]["annotations"] = annotations
    return made


def pools() -> list[dict[str, Any]]:
    """Return the pool that the tests' Services take their addresses from."""
    return [
        {
            "apiVersion": "cilium.io/v2alpha1",
            "kind": "CiliumLoadBalancerIPPool",
            "metadata": {"name": "kinds"},
            "spec": {
                "blocks": [{"cidr": "192.168.1.200/29"}, {"cidr": "fd00:100::c8/125"}],
                "allowFirstLastIPs": "Yes",
                "serviceSelector": {"matchLabels": {"kinds": "yes"}},
            },
        },
        {
            "apiVersion": "cilium.io/v2alpha1",
            "kind": "CiliumLoadBalancerIPPool",
            "metadata": {"name": "nobody"},
            "spec": {
                "blocks": [{"cidr": "198.51.100.0/24"}, {"cidr": "fd00:200::/64"}],
                "serviceSelector": {"matchLabels": {"nobody": "ever"}},
            },
        },
    ]


class Bed:
    """A lab with the objects applied, and the answers that its clients got."""

    def __init__(self, lab: LabRun) -> None:
        self.lab = lab
        self.addresses: dict[str, tuple[str, str]] = dict(HOSTS)

    def apply(self, objects: Iterable[dict[str, Any]]) -> None:
        """Create or change objects."""
        self.lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def wait_ready(self, *names: str) -> None:
        """Wait until the pods are ready, and note the addresses of the clients among them."""
        words = [f"pod/{name}" for name in names]
        self.lab.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s", *words)
        for name in names:
            status = self.lab.get("pod", "-n", NAMESPACE, name)["status"]
            first, *others = [entry["ip"] for entry in status["podIPs"]]
            self.addresses[name] = (first, others[0] if others else "")

    def spec(self, name: str) -> dict[str, Any]:
        """Return a Service's spec as it stands."""
        return dict(self.lab.get("service", "-n", NAMESPACE, name)["spec"])

    def node_port(self, name: str, port: int = 80) -> int:
        """Return the node port of a Service's port."""
        return next(int(p["nodePort"]) for p in self.spec(name)["ports"] if p["port"] == port)

    def vips(self, name: str) -> tuple[str, str]:
        """Return a Service's load-balancer addresses once it has both."""

        def given() -> tuple[str, str] | None:
            status = self.lab.get("service", "-n", NAMESPACE, name)["status"]
            found = [e["ip"] for e in status.get("loadBalancer", {}).get("ingress", ())]
            four = [ip for ip in found if ":" not in ip]
            six = [ip for ip in found if ":" in ip]
            return (four[0], six[0]) if four and six else None

        found = wait_for(f"addresses of {name}", given)
        assert found is not None
        return found

    def ask(self, client: str, questions: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """Ask from a client; it may be a host or one of PODS."""
        host = f"pod/{NAMESPACE}/{client}" if client in PODS else client
        words = (CAIRN, "lab", "exec", "--name", self.lab.name, host, "--", PYTHON, ASK)
        done = subprocess.run(
            words, input=json.dumps(questions), text=True, capture_output=True, timeout=300
        )
        if done.returncode:
            raise AssertionError(f"{client}: {done.stderr}")
        return dict(json.loads(done.stdout))
