"""The program `cairn-cni`, which the kubelet's runtime calls for each pod.

    CNI_* environment, network configuration on stdin  ->  agent's socket  ->  result on stdout

Only the standard library, and little of it: the program starts for every pod.

Invariants  Whatever happens, stdout holds one JSON object, and a failure exits 1.
            VERSION needs no agent.  DEL fails (and is repeated) until an agent confirms it.
Standards   CNI specification 1.1.0: environment, VERSION, error object, well-known codes
Not here    The wiring of pods (the agent).
"""

import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from typing import Any

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
LATEST = "1.1.0"
DEFAULT_SOCKET = "/run/cairn/agent.sock"
TIMEOUT_S = 30.0

INCOMPATIBLE_VERSION = 1
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODING_FAILURE = 6
INVALID_CONFIG = 7
TRY_AGAIN = 11
PLUGIN_NOT_AVAILABLE = 50

NEEDS: Mapping[str, tuple[str, ...]] = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
    "VERSION": (),
}
"""Which variables each command must find set."""
_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


class Failure(Exception):
    """A call that fails, with CNI's code."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def main(argv: list[str] | None = None) -> int:
    """Serve one CNI call; return the exit status."""
    if argv is None:
        argv = sys.argv[1:]
    version = LATEST
    try:
        command = _command(os.environ)
        config = _config(sys.stdin.buffer.read())
        version = _version(config)
        if command == "VERSION":
            answer: dict[str, Any] = {"cniVersion": version, "supportedVersions": list(VERSIONS)}
        else:
            answer = _ask_agent(command, os.environ, config)
    except Failure as failure:
        _print(
            {
                "cniVersion": version,
                "code": failure.code,
                "msg": failure.message,
                "details": failure.details,
            }
        )
        return 1
    if command in ("ADD", "VERSION"):
        _print({"cniVersion": version, **answer})
    return 0


def _print(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _command(environment: Mapping[str, str]) -> str:
    command = environment.get("CNI_COMMAND", "")
    if command not in NEEDS:
        raise Failure(
            INVALID_ENVIRONMENT,
            f"CNI_COMMAND is {command!r}; this program is called by the kubelet with one of "
            + ", ".join(NEEDS),
        )
    missing = [name for name in NEEDS[command] if not environment.get(name)]
    if missing:
        raise Failure(INVALID_ENVIRONMENT, f"{command}: {', '.join(missing)} not set")
    container = environment.get("CNI_CONTAINERID", "")
    if NEEDS[command] and not _CONTAINER_ID.fullmatch(container):
        raise Failure(INVALID_ENVIRONMENT, f"CNI_CONTAINERID {container!r} is not a valid id")
    return command


def _config(text: bytes) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise Failure(DECODING_FAILURE, f"network configuration on stdin: {error}") from None
    if not isinstance(config, dict):
        raise Failure(DECODING_FAILURE, "network configuration on stdin: not a JSON object")
    return config


def _version(config: Mapping[str, Any]) -> str:
    version = config.get("cniVersion", "0.3.0")
    if version not in VERSIONS:
        raise Failure(
            INCOMPATIBLE_VERSION,
            f"cniVersion {version!r} of the network configuration is not supported",
            "supported: " + ", ".join(VERSIONS),
        )
    return str(version)


def _ask_agent(
    command: str, environment: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, Any]:
    path = config.get("agentSocket", DEFAULT_SOCKET)
    if not isinstance(path, str):
        raise Failure(INVALID_CONFIG, "agentSocket of the network configuration is not a string")
    call = {
        "command": command,
        "containerID": environment.get("CNI_CONTAINERID", ""),
        "netns": environment.get("CNI_NETNS", ""),
        "ifname": environment.get("CNI_IFNAME", ""),
        "args": environment.get("CNI_ARGS", ""),
        "path": environment.get("CNI_PATH", ""),
        "config": config,
    }
    return _judge(command, path, _exchange(command, path, json.dumps(call).encode() + b"\n"))


def _exchange(command: str, path: str, line: bytes) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(TIMEOUT_S)
            agent.connect(path)
            agent.sendall(line)
            with agent.makefile("rb") as reply:
                return reply.readline()
    except TimeoutError:
        problem = f"did not answer within {TIMEOUT_S:.0f} s"
    except OSError as error:
        problem = error.strerror or str(error)
    raise Failure(
        _unavailable(command),
        f"the Cairn agent at {path}: {problem}",
        "the agent of this node is not running yet; see: "
        "kubectl -n kube-system get pods -l k8s-app=cairn -o wide",
    )


def _unavailable(command: str) -> int:
    return PLUGIN_NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN


def _judge(command: str, path: str, line: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(line)
        error, result = reply.get("error"), reply.get("result")
        if error is not None:
            raise Failure(int(error["code"]), str(error["msg"]), str(error.get("details", "")))
        if isinstance(result, dict):
            return result
    except (ValueError, AttributeError, KeyError, TypeError):
        pass
    raise Failure(
        _unavailable(command), f"the Cairn agent at {path} broke off its answer to {command}"
    )


if __name__ == "__main__":
    sys.exit(main())
