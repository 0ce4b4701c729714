"""Call CNI plugins as a container runtime does.

    conflist in /etc/cni/net.d, Attachment  ->  plugin processes  ->  result, or CniFailed

Invariants  Plugins of a list run in order for ADD, each with the result before it, and in reverse
            order for DEL.
Standards   CNI specification 1.0.0, sections 2 to 5
"""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cairn.linux.mount import bind, make_slave
from cairn.linux.system_call import Clone, unshare

TIMEOUT_S = 40.0
RUN = Path("/run/cairn")


class CniFailed(Exception):
    """A call that did not succeed; the text says why."""


class NotConfigured(CniFailed):
    """No network configuration is there yet."""


@dataclass(frozen=True, slots=True)
class NetworkList:
    """One conflist."""

    name: str
    """Name of the network."""
    version: str
    """CNI version that its plugins are called with."""
    plugins: tuple[Mapping[str, Any], ...]
    """Their configurations, in order."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A pod's place in a network."""

    container_id: str
    """The sandbox's id."""
    netns: str
    """File of its network namespace."""
    arguments: str
    """CNI_ARGS: which pod it is."""
    ifname: str = "eth0"
    """Name of the interface in the pod."""
    run: Path | None = None
    """The node's own /run/cairn, which the plugin sees there; None: the machine's is the node's."""


def load_network(folder: Path) -> NetworkList:
    """Return the first network configuration, in order of file names; raises CniFailed."""
    try:
        names = sorted(path for path in folder.iterdir() if path.suffix in (".conflist", ".conf"))
    except FileNotFoundError:
        names = []
    if not names:
        raise NotConfigured(
            f"cni plugin not initialized: no network configuration in /etc/cni/net.d of this node "
            f"({folder}); the agent (pods of DaemonSet kube-system/cairn) writes it"
        )
    try:
        raw = json.loads(names[0].read_text())
        plugins = raw.get("plugins", [raw])
        return NetworkList(raw["name"], raw.get("cniVersion", "0.3.0"), tuple(plugins))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CniFailed(f"{names[0]}: unreadable network configuration: {error}") from None


async def add(network: NetworkList, attachment: Attachment, path: Sequence[str]) -> dict[str, Any]:
    """Connect a pod and return the result of the last plugin."""
    result: dict[str, Any] = {}
    for plugin in network.plugins:
        extra = {"prevResult": result} if result else {}
        result = await _call("ADD", network, plugin, attachment, path, extra)
    return result


async def delete(
    network: NetworkList, attachment: Attachment, path: Sequence[str], result: Mapping[str, Any]
) -> None:
    """Disconnect a pod; `result` is what ADD had returned."""
    for plugin in reversed(network.plugins):
        extra = {"prevResult": dict(result)} if result else {}
        await _call("DEL", network, plugin, attachment, path, extra)


def addresses_of(result: Mapping[str, Any]) -> list[str]:
    """Return the addresses that a result gives the pod, without their prefix lengths."""
    return [str(ip["address"]).partition("/")[0] for ip in result.get("ips") or ()]


async def _call(
    command: str,
    network: NetworkList,
    plugin: Mapping[str, Any],
    attachment: Attachment,
    path: Sequence[str],
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    name = str(plugin.get("type"))
    program = shutil.which(name, path=os.pathsep.join(path))
    if program is None:
        raise CniFailed(f"CNI plugin {name!r} is not in {', '.join(path)}")
    config = {**plugin, "name": network.name, "cniVersion": network.version, **extra}
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": attachment.container_id,
        "CNI_NETNS": attachment.netns,
        "CNI_IFNAME": attachment.ifname,
        "CNI_ARGS": attachment.arguments,
        "CNI_PATH": os.pathsep.join(path),
    }
    process = await asyncio.create_subprocess_exec(
        program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        preexec_fn=partial(_see_node, attachment.run) if attachment.run else None,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate(json.dumps(config).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise CniFailed(f"plugin {name}: no answer to {command} in {TIMEOUT_S:.0f} s") from None
    return _result(name, command, process.returncode or 0, out, err)


def _see_node(run: Path) -> None:
    """Give the calling process, about to become a plugin, the node's view of /run/cairn."""
    unshare(Clone.NEWNS)
    make_slave()
    bind(run, RUN)


def _result(name: str, command: str, status: int, out: bytes, err: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(out) if out.strip() else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CniFailed(f"plugin {name}: {command} printed no JSON object")
    if status == 0:
        return answer
    text = answer.get("msg") or err.decode(errors="replace").strip().rpartition("\n")[2]
    details = f" ({answer['details']})" if answer.get("details") else ""
    raise CniFailed(f"plugin {name} failed ({command}): {text or f'status {status}'}{details}")
