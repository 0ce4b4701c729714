"""The proxies of one node, as policies use them: Envoy for requests, `cairn dns` for names.

client, run folder  ->  Envoy, DnsLink, and what must run beside them
"""

import base64
import binascii
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from cairn.agent.access_log import log_requests
from cairn.agent.dns_link import DnsLink
from cairn.agent.envoy import Envoy, Tell
from cairn.desired.proxy import ACCESS_LOG
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key
from cairn.kube.resource import SECRETS

log = logging.getLogger("policy")


class PolicyProxies:
    """One node's proxies."""

    def __init__(
        self, client: Client, run: Path, node: str, *, tell: Tell, way_in_use: Callable[[], bool]
    ) -> None:
        """`way_in_use` tells whether any rule needs the way of packets to a proxy."""
        self._client = client
        folder = run / "proxy"
        self._log = folder / ACCESS_LOG
        self.requests = Envoy(
            folder, node, tell=tell, read_secret=self._read_secret, way_in_use=way_in_use
        )
        """Judges requests and server names."""
        self.names = DnsLink(run / "dns.sock")
        """Judges queries, and learns addresses."""

    def runners(self) -> list[Coroutine[Any, Any, None]]:
        """Return what must run for the proxies to follow."""
        return [
            self.requests.run(),
            self.names.run(),
            log_requests(self._log, lambda _: None),
        ]

    async def _read_secret(self, name: tuple[str, str]) -> str | None:
        """Return the one value of a Secret; None if it cannot be read or is not one."""
        try:
            obj = await self._client.get(SECRETS, Key(*name))
            (value,) = (obj.get("data") or {}).values()
            return base64.b64decode(value, validate=True).decode()
        except (ApiError, ValueError, binascii.Error) as error:
            log.error("Secret %s/%s is not usable in a policy: %s", *name, error)
            return None
