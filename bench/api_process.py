"""A fresh `cairn api` on loopback, for measurements that need a server and no lab.

started()  ->  Server: URL, pid, kubeconfig, an HTTP session of the admin's
"""

import asyncio
import contextlib
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from cairn.api.pki import Pki, ensure_pki

SERVE = "import sys; from cairn.api.main import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True, slots=True)
class Server:
    """One running API server."""

    url: str
    """Where it listens."""
    pid: int
    """Its process."""
    kubeconfig: Path
    """An admin's."""
    http: aiohttp.ClientSession
    """An admin's session, without a limit on connections."""


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise LookupError(pid)


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[Server]:
    """Start a server with an empty database; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cairn-bench-", dir="/var/tmp") as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVE, "--data", folder, "--listen", "127.0.0.1:0",
            stderr=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        try:
            assert process.stderr is not None
            line = (await process.stderr.readline()).decode()
            assert "serving on " in line, f"cairn api did not start: {line}"
            url = "https://" + line.split("serving on ")[1].split(",")[0]
            pki = ensure_pki(Path(folder) / "pki")
            context = ssl.create_default_context(cafile=str(pki.ca_cert))
            context.load_cert_chain(*map(str, pki.admin))
            connector = aiohttp.TCPConnector(ssl=context, limit=0)
            async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 22) as http:
                yield Server(url, process.pid, write_kubeconfig(Path(folder), url, pki), http)
        finally:
            process.terminate()
            await process.wait()


def write_kubeconfig(folder: Path, url: str, pki: Pki) -> Path:
    """Write the admin's kubeconfig and return its path."""
    certificate, key = map(str, pki.admin)
    path = folder / "bench.kubeconfig"
    cluster = {"server": url, "certificate-authority": str(pki.ca_cert)}
    user = {"client-certificate": certificate, "client-key": key}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": "bench", "user": user}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }
    path.write_text(yaml.safe_dump(config))
    return path
