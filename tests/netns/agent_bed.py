"""A real agent on a node of its own: an API server, pods wired by the real plugin, policies.

node (agent, API server) === pods
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from apiserver_bed import start_api

from cairn.agent.options import cgroup_default
from cairn.api.kubeconfig import write_kubeconfig
from cairn.api.pki import ensure_pki
from cairn.linux import mount, namespace

T = TypeVar("T")

BIN = Path(sys.executable).parent
NODE = "node-1"
NODE_ADDRESS = "192.168.1.10"
POD_NETWORK = "10.244.9.0/24"
PORT = 8080
PATIENCE_S = 20.0


def wait_for(what: str, condition: Callable[[], T], deadline_s: float = PATIENCE_S) -> T:
    """Return the condition's first true value; fails after the deadline."""
    end = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {deadline_s:.0f} s for {what}"
        time.sleep(0.01)
    return found


class AgentBed:
    """One node."""

    def __init__(self, prefix: str, folder: Path) -> None:
        self.prefix = prefix
        self.folder = folder
        self.netns = f"{prefix}-node"
        self.pins = Path("/sys/fs/bpf") / prefix
        self.cgroup = cgroup_default() / prefix
        self.agent: subprocess.Popen[bytes] | None = None
        self.uids: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self._api, self._port = namespace.call_in(self.netns, start_api, folder / "data")
        pki = ensure_pki(folder / "data" / "pki")
        self.kubeconfig = folder / "kubeconfig"
        admin = (pki.admin[0].read_bytes(), pki.admin[1].read_bytes())
        url = f"https://127.0.0.1:{self._port}"
        write_kubeconfig(self.kubeconfig, url, ca_pem=pki.ca_pem, client=admin)

    def kubectl(self, *words: str, given: str = "") -> str:
        """Run kubectl; return what it printed."""
        done = namespace.call_in(
            self.netns,
            subprocess.run,
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return str(done.stdout)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or change objects."""
        everything = {"kind": "List", "apiVersion": "v1", "items": objects}
        self.kubectl("apply", "-f", "-", given=json.dumps(everything))

    def start_agent(self, *words: str, within_s: float = PATIENCE_S) -> None:
        """Start the agent; returns once it wires pods."""
        before = self.log()
        with open(self.folder / "agent.log", "ab") as log:
            self.agent = namespace.call_in(
                self.netns,
                subprocess.Popen,
                [
                    str(BIN / "cairn"),
                    "agent",
                    *("--node", NODE, "--kubeconfig", str(self.kubeconfig)),
                    *("--run", str(self.folder / "run"), "--bpf", str(self.pins)),
                    *("--cgroup", str(self.cgroup), "--cni", str(self.folder / "cni")),
                    *("--metrics", "0", *words),
                ],
                stderr=log,
            )
        wait_for("the agent", lambda: "ready" in self.log()[len(before) :], within_s)

    def kill_agent(self) -> None:
        """End the agent as a crash would."""
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()
        self.agent = None

    def log(self) -> str:
        """Return what the agents have said."""
        path = self.folder / "agent.log"
        return path.read_text() if path.exists() else ""

    def events(self, reason: str) -> list[dict[str, Any]]:
        """Return the Events of one reason."""
        found = json.loads(self.kubectl("get", "events", "-A", "-o", "json"))["items"]
        return [event for event in found if event["reason"] == reason]

    def create_pod(self, name: str, **labels: str) -> None:
        """Create a pod's object."""
        spec = {"nodeName": NODE, "containers": [{"name": "main", "image": "none"}]}
        metadata = {"name": name, "namespace": "default", "labels": labels}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        self.uids[name] = self.kubectl("get", "pod", name, "-o", "jsonpath={.metadata.uid}")

    def add(self, name: str, **more: str) -> tuple[int, dict[str, Any]]:
        """Wire a pod as a kubelet does; return the plugin's status and answer."""
        status, answer = self.call("ADD", name, **more)
        if not status:
            self.addresses[name] = answer["ips"][0]["address"].partition("/")[0]
        return status, answer

    def call(self, command: str, name: str, **more: str) -> tuple[int, dict[str, Any]]:
        """Run the plugin."""
        config = {
            "cniVersion": "1.0.0",
            "name": "cairn",
            "type": "cairn-cni",
            "agentSocket": str(self.folder / "run" / "agent.sock"),
        }
        arguments = {
            "K8S_POD_NAMESPACE": "default",
            "K8S_POD_NAME": name,
            "K8S_POD_UID": self.uids.get(name, "none"),
        }
        environment = os.environ | {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"{self.prefix}{name}",
            "CNI_NETNS": str(namespace.netns_path(self.pod(name))),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(BIN),
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
        }
        done = subprocess.run(
            [str(BIN / "cairn-cni")],
            input=json.dumps(config),
            env=environment | more,
            capture_output=True,
            text=True,
        )
        return done.returncode, json.loads(done.stdout or "{}")

    def pod(self, name: str) -> str:
        """Return the name of a pod's network namespace."""
        return f"{self.prefix}-{name}"

    def socket(self, name: str, kind: socket.SocketKind) -> socket.socket:
        """Return a socket of a pod."""
        made = namespace.call_in(self.pod(name), socket.socket, socket.AF_INET, kind)
        made.settimeout(5)
        return made

    def stop(self) -> None:
        """End what runs."""
        for process in (self.agent, self._api):
            if process is not None:
                process.terminate()
                process.wait(10)


@contextlib.contextmanager
def agent_node(folder: Path, *pods: str) -> Iterator[AgentBed]:
    """Yield a node with an API server that knows it, and empty namespaces for pods."""
    prefix = f"ct{os.getpid()}{secrets.token_hex(2)}"
    names = [f"{prefix}-{name}" for name in ("node", *pods)]
    mount.ensure_bpffs()
    cgroup = cgroup_default() / prefix
    cgroup.mkdir()
    bed = None
    try:
        for name in names:
            namespace.create(name)
        for line in (
            "link set lo up",
            "link add eth0 type veth peer name far",
            f"addr add {NODE_ADDRESS}/24 dev eth0",
            "link set eth0 up",
            "link set far up",
        ):
            subprocess.run(["ip", "-n", names[0], *line.split()], check=True)
        bed = AgentBed(prefix, folder)
        crds = subprocess.run(
            [str(BIN / "cairn"), "crds"], capture_output=True, text=True, check=True
        )
        bed.kubectl("apply", "-f", "-", given=crds.stdout)
        spec = {"podCIDR": POD_NETWORK, "podCIDRs": [POD_NETWORK]}
        status = {"addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}]}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": spec}
        bed.apply(node)
        patch = json.dumps({"status": status})
        bed.kubectl("patch", "node", NODE, "--subresource=status", "-p", patch)
        yield bed
    finally:
        if bed is not None:
            bed.stop()
        shutil.rmtree(Path("/sys/fs/bpf") / prefix, ignore_errors=True)
        for name in names:
            namespace.delete(name)
        cgroup.rmdir()
