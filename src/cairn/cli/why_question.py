"""What `cairn why` asks one node.

Question  ->  NodeQuestion, as JSON in an argument  ->  NodePart
"""

import msgspec


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
