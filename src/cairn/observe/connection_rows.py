"""What is told of a connection that a node knows, and which are asked for.

    Filter  ->  ConnectionRow ...

Units       seconds; octets count IP packets with their Ethernet header
Not here    Making rows from the maps (connection_view.py).
"""

from dataclasses import dataclass

from cairn.net import Address


@dataclass(frozen=True, slots=True)
class Filter:
    """Which connections are wanted; None: any."""

    vip: Address | None = None
    """Of this frontend address."""
    client: Address | None = None
    """Of this client."""
    backend: Address | None = None
    """At this backend."""


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One connection."""

    protocol: str
    client: str
    frontend: str
    backend: str
    state: str
    """new, established, closing; of UDP: unanswered, answered."""
    handed_over: bool
    """Whether this node only passes it on: another node serves it and knows its answers."""
    age_s: int
    """Since its first packet."""
    idle_s: int
    """Since its last, of either side."""
    packets: int
    """From the client."""
    octets: int
    answer_packets: int
    """From the backend; 0 for one handed over, whose answers do not pass here."""
    answer_octets: int
