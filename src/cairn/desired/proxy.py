"""What one node's Envoy should serve: resources of its configuration API, as JSON.

    compile.proxy  ->  ProxyState  ->  apply.proxy_files

Shapes      A Resource is a message of Envoy's API v3 in the JSON form of protocol buffers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Resource = Mapping[str, Any]

BOOTSTRAP = "bootstrap.json"
LISTENERS = "listeners.json"
ROUTES = "routes-{port}.json"
ACCESS_LOG = "access.log"
ADMIN = "admin.sock"
"""Names in the directory that the agent and Envoy share."""

LISTENER_PORTS = range(15_000, 16_000)
"""On loopback, for all proxies of the node."""
PORT_SHIFT = 16
"""A listener's own mark is its port, shifted so far: nftables sees by it who has a packet."""
PROXY_PORTS = (61_000, 65_535)
"""Source ports of the proxy's own connections: above those that Linux chooses by itself."""


@dataclass(frozen=True, slots=True)
class ProxyState:
    """Everything that depends on the redirects."""

    listeners: Mapping[int, Resource] = field(default_factory=dict)
    """envoy.config.listener.v3.Listener by its port on loopback."""
    routes: Mapping[int, Resource] = field(default_factory=dict)
    """envoy.config.route.v3.RouteConfiguration by the port of the listener that asks for it."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """Ports whose rules Envoy cannot apply, and why; requests there are all denied."""
