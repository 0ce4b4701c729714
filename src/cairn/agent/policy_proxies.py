"""The proxies of one node, as policies use them: Envoy for requests, `cairn dns` for names.

client, run folder  ->  Envoy, DnsLink, and what must run beside them
"""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from cairn.agent.dns_link import DnsLink
from cairn.agent.envoy import Envoy, Tell
from cairn.agent.proxy_path import ProxyPath
from cairn.agent.secret_values import SecretValues
from cairn.drive.kube_client import Client


class PolicyProxies:
    """One node's proxies."""

    def __init__(self, client: Client, run: Path, node: str, *, tell: Tell) -> None:
        folder = run / "proxy"
        path = ProxyPath()
        self.requests = Envoy(
            folder, node, tell=tell, read_secret=SecretValues(client).read, path=path
        )
        """Judges requests and server names."""
        self.names = DnsLink(run / "dns.sock", path)
        """Judges queries, and learns addresses."""

    def runners(self) -> list[Coroutine[Any, Any, None]]:
        """Return what must run for the proxies to follow."""
        return [
            self.requests.run(),
            self.names.run(),
        ]
