"""Run a command in a container through the Kubernetes API, as `kubectl exec` does.

    pod, container, argv  ->  exit status and what it wrote

Invariants  Nothing is sent to the command's standard input, which is there only while its output
            is read as it comes.
            Whatever the other side answers, only ApiError is raised.
Standards   Kubernetes remote command protocol v4.channel.k8s.io and v5, over WebSocket (RFC 6455)
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from cairn.drive.kube_client import ApiError, Client, Garbled, Unreachable
from cairn.kube.metadata import Key
from cairn.kube.resource import PODS

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDOUT, STDERR, ERROR = 1, 2, 3
TIMEOUT_S = 60.0
MAX_OUTPUT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended."""

    code: int
    """Its exit status."""
    stdout: bytes
    stderr: bytes


async def exec_in_pod(
    client: Client, pod: Key, container: str, argv: list[str], *, timeout_s: float = TIMEOUT_S
) -> Completed:
    """Run `argv` and wait for its end; raises ApiError if it cannot be run."""
    query = [("command", word) for word in argv]
    query += [("container", container), ("stdout", "true"), ("stderr", "true")]
    path = PODS.path(pod.namespace, pod.name, "exec")
    try:
        async with (
            asyncio.timeout(timeout_s),
            client.websocket(path, query, PROTOCOLS) as socket,
        ):
            return await _collect(client, socket)
    except aiohttp.WSServerHandshakeError as error:
        raise _refused(pod, error) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unreachable(client.url, error) from error


async def stream_from_pod(
    client: Client, pod: Key, container: str, argv: list[str]
) -> AsyncGenerator[bytes, None]:
    """Run `argv` and yield what it writes, line by line, until it ends.

    Its standard input ends when this is closed: a command that reads it knows then that nobody
    listens any more. Raises ApiError if it cannot be run, or did not end well.
    """
    query = [("command", word) for word in argv]
    query += [("container", container), ("stdout", "true"), ("stderr", "true"), ("stdin", "true")]
    path = PODS.path(pod.namespace, pod.name, "exec")
    rest = {STDOUT: b"", STDERR: b"", ERROR: b""}
    try:
        async with client.websocket(path, query, PROTOCOLS) as socket:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                    continue
                channel = message.data[0]
                if channel not in rest:
                    continue
                rest[channel] += message.data[1:]
                if channel == STDOUT:
                    *lines, rest[STDOUT] = rest[STDOUT].split(b"\n")
                    for line in lines:
                        yield line
    except aiohttp.WSServerHandshakeError as error:
        raise _refused(pod, error) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(client.url, error) from error
    code = _exit_code(client, rest[ERROR]) if rest[ERROR] else 0
    if code:
        said = rest[STDERR].decode(errors="replace").strip().splitlines()
        raise ApiError(500, "Failed", said[-1] if said else f"exit status {code}")


async def _collect(client: Client, socket: aiohttp.ClientWebSocketResponse) -> Completed:
    output = {STDOUT: bytearray(), STDERR: bytearray(), ERROR: bytearray()}
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        if message.data[0] in output:
            output[message.data[0]] += message.data[1:]
        if sum(map(len, output.values())) > MAX_OUTPUT_BYTES:
            raise ApiError(500, "TooLarge", f"a command wrote over {MAX_OUTPUT_BYTES} octets")
    code = _exit_code(client, bytes(output[ERROR]))
    return Completed(code, bytes(output[STDOUT]), bytes(output[STDERR]))


def _refused(pod: Key, error: aiohttp.WSServerHandshakeError) -> ApiError:
    said = {403: "you may not create pods/exec", 404: "it is gone"}.get(error.status)
    return ApiError(error.status, "", f"exec in pod {pod}: {said or f'HTTP status {error.status}'}")


def _exit_code(client: Client, said: bytes) -> int:
    """Return the exit status that a v1.Status tells of."""
    try:
        status: Any = msgspec.json.decode(said)
        if status.get("status") == "Success":
            return 0
        causes = (status.get("details") or {}).get("causes") or ()
        for cause in causes:
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        message = str(status.get("message") or "the command could not be run")
    except (msgspec.DecodeError, AttributeError, TypeError, ValueError, KeyError) as error:
        raise Garbled(client.url, f"an exec with {said[:80]!r}") from error
    raise ApiError(status.get("code") or 500, str(status.get("reason") or ""), message)
