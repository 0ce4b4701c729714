"""Which nodes there are, and where their agents answer.

Node objects  ->  name, address  ->  on_node(name, address), on_gone(name)
"""

from collections.abc import Callable, Mapping
from typing import Any

from cairn.drive.informer import Informer
from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.resource import NODES

PORT = 4244
"""Where an agent serves its flows."""


def node_target(node: Mapping[str, Any]) -> str:
    """Return host and port of a node's agent, as gRPC spells them; "" if it has no address yet."""
    for address in (node.get("status") or {}).get("addresses") or ():
        if address.get("type") == "InternalIP" and address.get("address"):
            host = str(address["address"])
            return f"ipv6:[{host}]:{PORT}" if ":" in host else f"ipv4:{host}:{PORT}"
    return ""


async def follow_nodes(
    client: Client, on_node: Callable[[str, str], None], on_gone: Callable[[str], None]
) -> None:
    """Tell of every node, its changes and its end, until cancelled."""

    def on_change(key: Key, _old: Any, new: Mapping[str, Any] | None) -> None:
        if new is None:
            on_gone(key.name)
        elif target := node_target(new):
            on_node(key.name, target)

    await Informer(client, NODES, on_change=on_change, keep=False).run()
