"""The checks that probes make: HTTP, TCP, and a program in the container.

    Probe, address, container  ->  Verdict(ok, message)

They run from the node's own network, as a kubelet's do.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cairn.kube.metadata import Object

RunCommand = Callable[[list[str], float], Awaitable[tuple[int, str]]]
"""Runs a program in the container for at most so many seconds: (exit status, output)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check."""

    ok: bool
    """Whether it held."""
    message: str = ""
    """Why not, as the Event tells it."""


class BadProbe(ValueError):
    """A probe that cannot be made at all."""


async def check(
    probe: Object, container: Object, address: str, timeout_s: float, run: RunCommand
) -> Verdict:
    """Make one check; whatever goes wrong is a verdict."""
    try:
        if action := probe.get("exec"):
            return await _exec(list(action.get("command") or ()), timeout_s, run)
        async with asyncio.timeout(timeout_s):
            if action := probe.get("httpGet"):
                return await _http(action, container, address)
            if action := probe.get("tcpSocket"):
                return await _tcp(action, container, address)
        return Verdict(False, "the probe names none of exec, httpGet, tcpSocket")
    except TimeoutError:
        return Verdict(False, f"no answer within {timeout_s:g} s")
    except BadProbe as error:
        return Verdict(False, str(error))
    except (OSError, asyncio.IncompleteReadError) as error:
        return Verdict(False, str(error) or type(error).__name__)


def port_of(container: Object, port: object) -> int:
    """Return a port given by number or by the name of a containerPort; raises BadProbe."""
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    if isinstance(port, str) and port.isdigit():
        return int(port)
    raise BadProbe(f"the container has no port named {port!r}")


async def _exec(command: list[str], timeout_s: float, run: RunCommand) -> Verdict:
    status, output = await run(command, timeout_s)
    return Verdict(status == 0, f"exit status {status}: {output.strip()[:200]}")


async def _tcp(action: Object, container: Object, address: str) -> Verdict:
    host = action.get("host") or address
    _, writer = await asyncio.open_connection(host, port_of(container, action.get("port")))
    writer.close()
    return Verdict(True)


async def _http(action: Object, container: Object, address: str) -> Verdict:
    host = action.get("host") or address
    port = port_of(container, action.get("port"))
    secure = None
    if (action.get("scheme") or "HTTP") == "HTTPS":
        # Kubelets do not verify a probed server's certificate: it is asked by address.
        secure = ssl.create_default_context()
        secure.check_hostname = False
        secure.verify_mode = ssl.CERT_NONE
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.33", "Accept": "*/*"}
    for header in action.get("httpHeaders") or ():
        headers[str(header["name"])] = str(header["value"])
    lines = [f"GET {action.get('path') or '/'} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    reader, writer = await asyncio.open_connection(host, port, ssl=secure)
    try:
        writer.write(("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode())
        status_line = (await reader.readuntil(b"\n")).decode("latin-1").split()
    finally:
        writer.close()
    code = int(status_line[1]) if len(status_line) > 1 and status_line[1].isdigit() else 0
    return Verdict(200 <= code < 400, f"HTTP probe failed with statuscode: {code}")
