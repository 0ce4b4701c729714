"""The cluster's name server, asked by dig over UDP and TCP."""

import asyncio
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.resource import SERVICES


async def dig(port: int, *words: str, at: str = "127.0.0.1") -> str:
    argv = ["dig", f"@{at}", "-p", str(port), "+tries=1", "+time=3", *words]

    def run() -> str:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout

    return await asyncio.to_thread(run)


async def test_dig(
    client: Client, processes: Any, kubeconfig: Path, until: Callable[..., Any]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    metadata = {"name": "web", "namespace": "default"}
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    address = (await client.create(SERVICES, body))["spec"]["clusterIP"]
    processes.start(
        "dns", "lab", "dns", "--kubeconfig", str(kubeconfig), "--listen", f"[::]:{port}",
        "--upstream", address,
    )  # fmt: skip
    name = "web.default.svc.cluster.local"

    async def answered() -> Any:
        return await dig(port, "+short", name) == f"{address}\n"

    await until(answered, "an answer")
    assert await dig(port, "+short", "+tcp", name) == f"{address}\n"
    assert await dig(port, "+short", "-x", address) == f"{name}.\n"
    found = await dig(port, "+short", "SRV", f"_http._tcp.{name}")
    assert found == f"0 100 80 {name}.\n"
    kubernetes = await dig(port, "+short", "kubernetes.default.svc.cluster.local")
    assert kubernetes.startswith("10.96.")
    negative = await dig(port, "nothing.default.svc.cluster.local")
    assert "status: NXDOMAIN" in negative
    assert "SOA" in negative
    nodata = await dig(port, "AAAA", name)
    assert "status: NOERROR" in nodata
    assert "SOA" in nodata
    # Its only outer server is a Service of the cluster: asking there would go round in circles.
    assert "status: REFUSED" in await dig(port, "example.org")
    assert "refused: no server" in await dig(port, "CH", "TXT", "counters.cairn")
    both = {"ipFamilyPolicy": "RequireDualStack"}
    changed = await client.patch(SERVICES, Key("default", "web"), {"spec": both})
    assert changed["spec"]["clusterIPs"][0] == address
    other = changed["spec"]["clusterIPs"][1]

    async def has_both() -> Any:
        return await dig(port, "+short", "AAAA", name, at="::1") == f"{other}\n"

    await until(has_both, "the other family")
    assert await dig(port, "+short", "+tcp", "AAAA", name, at="::1") == f"{other}\n"
    assert await dig(port, "+short", "-x", other) == f"{name}.\n"
    await client.delete(SERVICES, Key("default", "web"))

    async def gone() -> Any:
        return "status: NXDOMAIN" in await dig(port, name)

    await until(gone, "the name is gone")
