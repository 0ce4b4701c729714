"""A bench for the kubelet: one node's namespace with the real API server and the real kubelet.

    KubeletBed  ->  kubectl(...), wait_for(...), processes ended by pid, nothing left behind

The agent's side of CNI is played by a small server that joins a pod by a veth pair: what is
tested here is the kubelet and `cairn-cni`, not the data plane.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cairn.api.kubeconfig import write_kubeconfig
from cairn.api.pki import ensure_pki
from cairn.lab.state import Lab, save_lab
from cairn.linux import cgroup, namespace
from cairn.linux.mount import unmount_below

T = TypeVar("T")
CAIRN = (sys.executable, "-m", "cairn.cli.main")
GATEWAY = "169.254.1.1"


class KubeletBed:
    """One node."""

    def __init__(self, folder: Path) -> None:
        self.lab = Lab(f"ct{secrets.token_hex(4)}", nodes=(1,), state=str(folder / "state"))
        self.node = "node-1"
        self.netns = self.lab.netns(self.node)
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.agent: FakeAgent | None = None

    def start(self) -> "KubeletBed":
        namespace.create(self.netns)
        self.run("ip", "link", "set", "lo", "up")
        save_lab(self.lab)
        pki = ensure_pki(self.lab.pki, sans=["127.0.0.1"])
        client = pki.issue_client("admin", ["system:masters"])
        url = "https://127.0.0.1:16443"
        write_kubeconfig(self.kubeconfig, url, ca_pem=pki.ca_pem, client=client)
        self.spawn("api", *CAIRN, "api", "--data", str(self.folder / "api"),
                   "--pki", str(self.lab.pki), "--listen", "127.0.0.1:16443")  # fmt: skip
        self.wait_for("the API server", lambda: self.kubectl_status("get", "ns") == 0)
        self.start_kubelet()
        return self

    def start_kubelet(self) -> None:
        self.spawn("kubelet", *CAIRN, "lab", "kubelet", "--lab", self.lab.name,
                   "--node", self.node, "--kubeconfig", str(self.kubeconfig),
                   "--address", "127.0.0.1", "--pod-network", "10.99.1.0/24")  # fmt: skip
        self.wait_for("the Node", lambda: self.kubectl_status("get", "node", self.node) == 0)

    def start_network(self) -> None:
        """Write the CNI configuration and play the agent."""
        files = self.lab.node_files(self.node)
        self.agent = FakeAgent(files / "run/cairn/agent.sock", self.netns)
        plugin = {"type": "cairn-cni", "agentSocket": "/run/cairn/agent.sock"}
        conflist = {"cniVersion": "1.0.0", "name": "cairn", "plugins": [plugin]}
        target = files / "etc/cni/net.d/05-cairn.conflist"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(conflist))

    def spawn(self, name: str, *argv: str) -> None:
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.netns}", *argv],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        self.processes[name].send_signal(number)
        self.processes[name].wait(10)

    def run(self, *argv: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in the node's network."""
        command = ["nsenter", f"--net=/run/netns/{self.netns}", *argv]
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60} | more
        return subprocess.run(command, check=False, **options)

    def kubectl(
        self, *argv: str, tool: str = "kubectl", **more: Any
    ) -> subprocess.CompletedProcess[str]:
        return self.run(tool, f"--kubeconfig={self.kubeconfig}", *argv, **more)

    def kubectl_status(self, *argv: str) -> int:
        return self.kubectl(*argv).returncode

    def output(self, *argv: str, tool: str = "kubectl", **more: Any) -> str:
        done = self.kubectl(*argv, tool=tool, **more)
        assert done.returncode == 0, f"{argv}: {done.stderr}\n{self.text('kubelet')[-3000:]}"
        return done.stdout

    def create_pod(self, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", **metadata},
            "spec": {"nodeName": self.node, "terminationGracePeriodSeconds": 5, **spec},
        }
        self.output("create", "-f", "-", input=json.dumps(pod))

    def pod(self, name: str) -> dict[str, Any]:
        done = self.kubectl("get", "pod", name, "-o", "json")
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def status(self, name: str) -> dict[str, Any]:
        return self.pod(name).get("status") or {}

    def container(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = (self.status(name).get("containerStatuses") or [{}])[0]
        return found

    def is_ready(self, name: str) -> bool:
        conditions = self.status(name).get("conditions") or ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def wait_for(self, what: str, probe: Callable[[], T], deadline_s: float = 30) -> T:
        end = time.monotonic() + deadline_s
        while not (found := probe()):
            if time.monotonic() > end:
                logs = "\n".join(self.text(name)[-4000:] for name in self.processes)
                raise AssertionError(f"{what}: not within {deadline_s} s\n{logs}")
            time.sleep(0.1)
        return found

    def text(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> list[str]:
        """End all of it; return what could not be removed."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait(10)
        if self.agent:
            self.agent.close()
        cgroup.kill(self.lab.group)
        left = [str(path) for path in cgroup.remove(self.lab.group)]
        for name in namespace.names(self.lab.netns_prefix):
            namespace.delete(name)
        unmount_below(self.lab.run)
        shutil.rmtree(self.lab.run, ignore_errors=True)
        return left


class FakeAgent:
    """Answers `cairn-cni` as the agent does, and wires a pod by one veth pair."""

    def __init__(self, path: Path, netns: str) -> None:
        self.calls: list[dict[str, Any]] = []
        self.refuse: dict[str, Any] | None = None
        self._netns = netns
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(16)
        self._path = path
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            with peer, peer.makefile("rwb") as stream:
                call = json.loads(stream.readline())
                self.calls.append(call)
                stream.write(json.dumps(self._answer(call)).encode() + b"\n")
                stream.flush()

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        if self.refuse:
            return {"error": self.refuse}
        host = "v" + call["containerID"][:8]
        if call["command"] == "DEL":
            self._ip("-n", self._netns, "link", "del", host)
            return {"result": {}}
        if call["command"] != "ADD":
            return {"result": {}}
        number = 10 + sum(1 for c in self.calls if c["command"] == "ADD")
        address, pod = f"10.99.1.{number}", call["netns"].rpartition("/")[2]
        self._ip("-n", self._netns, "link", "add", host, "type", "veth",
                 "peer", "name", "eth0", "netns", pod)  # fmt: skip
        for words in (
            ("-n", self._netns, "addr", "replace", f"{GATEWAY}/32", "dev", host),
            ("-n", self._netns, "link", "set", host, "up"),
            ("-n", pod, "link", "set", "lo", "up"),
            ("-n", pod, "link", "set", "eth0", "up"),
            ("-n", pod, "addr", "add", f"{address}/32", "dev", "eth0"),
            ("-n", pod, "route", "add", GATEWAY, "dev", "eth0"),
            ("-n", pod, "route", "add", "default", "via", GATEWAY),
            ("-n", self._netns, "route", "replace", address, "dev", host),
        ):
            self._ip(*words)
        return {"result": {"ips": [{"address": f"{address}/32"}], "routes": []}}

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=False, capture_output=True)


def is_root() -> bool:
    return os.geteuid() == 0
