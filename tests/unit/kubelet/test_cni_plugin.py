"""The program `cairn-cni`, run as a kubelet runs it, against a socket that plays the agent."""

import json
import re
import socket
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from cairn.cni import main as plugin

ADD = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "abc123",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "K8S_POD_NAME=p",
    "CNI_PATH": "/opt/cni/bin",
}
CONFIG = {"cniVersion": "1.0.0", "name": "cairn", "type": "cairn-cni"}


def call(
    environment: dict[str, str], config: dict[str, Any] | str
) -> tuple[int, dict[str, Any] | None]:
    done = subprocess.run(
        [sys.executable, "-m", "cairn.cni.main"],
        env=environment,
        input=config if isinstance(config, str) else json.dumps(config),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == "", "all that is to be said is on standard output"
    return done.returncode, json.loads(done.stdout) if done.stdout else None


class Agent:
    """Answers every call with the same octets."""

    def __init__(self, path: Path, reply: bytes) -> None:
        self.calls: list[dict[str, Any]] = []
        self._reply = reply
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(4)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._server.accept()
        with peer, peer.makefile("rwb") as stream:
            self.calls.append(json.loads(stream.readline()))
            stream.write(self._reply)

    def close(self) -> None:
        self._thread.join(10)
        self._server.close()


def ask(
    tmp_path: Path, reply: object, environment: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, Any]]:
    path = tmp_path / "agent.sock"
    text = reply if isinstance(reply, bytes) else json.dumps(reply).encode() + b"\n"
    agent = Agent(path, text)
    try:
        status, answer = call(environment or ADD, {**CONFIG, "agentSocket": str(path)})
    finally:
        agent.close()
    return status, answer, agent.calls[0]


def test_add_hands_the_call_over_and_prints_the_result(tmp_path: Path) -> None:
    ips = [{"address": "10.244.1.2/32"}]
    status, answer, seen = ask(tmp_path, {"result": {"ips": ips}})
    assert (status, answer) == (0, {"cniVersion": "1.0.0", "ips": ips})
    assert seen["command"] == "ADD"
    assert seen["containerID"] == "abc123"
    assert seen["netns"] == "/run/netns/x"
    assert seen["args"] == "K8S_POD_NAME=p"
    assert seen["config"]["name"] == "cairn"


def test_delete_prints_nothing(tmp_path: Path) -> None:
    status, answer, _ = ask(tmp_path, {"result": {}}, {**ADD, "CNI_COMMAND": "DEL"})
    assert (status, answer) == (0, None)


def test_error_of_the_agent_is_passed_on(tmp_path: Path) -> None:
    error = {"code": 11, "msg": "no address left", "details": "10.244.1.0/24"}
    status, answer, _ = ask(tmp_path, {"error": error})
    assert (status, answer) == (1, {"cniVersion": "1.0.0", **error})


@pytest.mark.parametrize("reply", [b"", b"{", b"[]\n", b'{"error": {"code": "x"}}\n'])
def test_broken_answer_is_tried_again(tmp_path: Path, reply: bytes) -> None:
    status, answer, _ = ask(tmp_path, reply)
    assert status == 1
    assert answer["code"] == 11


def test_version_needs_no_agent() -> None:
    status, answer = call({"CNI_COMMAND": "VERSION"}, {"cniVersion": "1.1.0"})
    assert status == 0
    assert answer is not None
    assert answer["cniVersion"] == "1.1.0"
    assert {"1.0.0", "1.1.0"} <= set(answer["supportedVersions"])


@pytest.mark.parametrize(
    ("environment", "config", "code"),
    [
        (ADD, "{", 6),
        (ADD, "[]", 6),
        (ADD, "", 6),
        (ADD, {**CONFIG, "cniVersion": "9.9"}, 1),
        (ADD, {**CONFIG, "agentSocket": 5}, 7),
        ({}, CONFIG, 4),
        ({**ADD, "CNI_COMMAND": "DANCE"}, CONFIG, 4),
        ({k: v for k, v in ADD.items() if k != "CNI_NETNS"}, CONFIG, 4),
        ({**ADD, "CNI_CONTAINERID": "../x"}, CONFIG, 4),
        (ADD, {**CONFIG, "agentSocket": "/nowhere/agent.sock"}, 11),
        ({**ADD, "CNI_COMMAND": "DEL"}, {**CONFIG, "agentSocket": "/nowhere/agent.sock"}, 11),
        ({"CNI_COMMAND": "STATUS"}, {**CONFIG, "agentSocket": "/nowhere/agent.sock"}, 50),
    ],
)
def test_failures(environment: dict[str, str], config: Any, code: int) -> None:
    status, answer = call(environment, config)
    assert status == 1
    assert answer is not None
    assert answer["code"] == code
    assert answer["msg"]


def test_delete_without_a_network_namespace_is_a_valid_call(tmp_path: Path) -> None:
    environment = {k: v for k, v in ADD.items() if k != "CNI_NETNS"} | {"CNI_COMMAND": "DEL"}
    assert ask(tmp_path, {"result": {}}, environment)[0] == 0


def test_the_hint_selects_the_agents_pods() -> None:
    source = Path(plugin.__file__).read_text()
    label, value = re.findall(r"get pods -l (\S+)=(\S+)", source)[0]
    manifest = files("cairn.lab.manifests").joinpath("cairn.yaml").read_text()
    agents = next(
        item
        for item in yaml.safe_load_all(manifest)
        if item["kind"] == "DaemonSet" and item["metadata"]["name"] == "cairn"
    )
    assert agents["spec"]["template"]["metadata"]["labels"][label] == value
