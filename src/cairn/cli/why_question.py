"""What `cairn why` asks one node.

Question  ->  NodeQuestion, as JSON in an argument  ->  NodePart
"""

import msgspec


class FlowsQuestion(msgspec.Struct, frozen=True):
    """Which flows are of interest."""

    clients: tuple[str, ...] = ()
    """Addresses of the client."""
    targets: tuple[str, ...] = ()
    """Addresses of the target, and of what stands behind it."""
    names: tuple[str, ...] = ()
    """DNS names of the target."""
    ports: tuple[int, ...] = ()
    """Of the target; empty: any."""
    protocol: str = "TCP"
    window_s: float = 0
    """How far back."""


class NodeQuestion(msgspec.Struct, frozen=True):
    """What one node is asked."""

    address: str = ""
    """The frontend's; empty: there is none."""
    port: int = 0
    protocol: str = "TCP"
    client: str = ""
    """Address of the client."""
    targets: tuple[str, ...] = ()
    """ADDRESS:PORT to try a connection with."""
    neighbours: tuple[str, ...] = ()
    """Addresses to look up in the neighbour table."""
    name: str = ""
    """DNS name to look up; empty: none."""
    server: str = ""
    """Address of the cluster's DNS."""
    flows: FlowsQuestion = FlowsQuestion()
    """Flows to tell of; without clients: none."""
