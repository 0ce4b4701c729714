"""What is told of a node's service maps: rows for people and programs.

    texts and numbers  ->  rows, JSON as they stand

Units       ages in seconds
Not here    Making them from the maps (lb_view.py).
"""

from dataclasses import dataclass

from cairn.net import Address

HERE = "here"
"""Stands for the node whose maps were read."""
ACTIVE, DRAINING, UNUSED = "active", "draining", "unused"


@dataclass(frozen=True, slots=True)
class FrontendRow:
    """One address and port at which a Service is reached."""

    address: str
    """0.0.0.0 or ::, where node ports listen, is every node's."""
    port: int
    protocol: str
    ready: int
    """Backends that take new connections."""
    local: int
    """Those of them on this node."""
    flags: tuple[str, ...]
    """What the Service asks for: affinity, local, socket-local, source-ranges."""
    affinity_s: int
    """How long an idle client keeps its backend; 0 without affinity."""


@dataclass(frozen=True, slots=True)
class BackendRow:
    """One place that serves connections."""

    address: str
    port: int
    node: str
    """Address of its node; `here` for this one; empty if no node of Cairn has it."""
    state: str
    """active; draining: keeps what it has; unused: no frontend chooses it."""
    frontends: tuple[str, ...]
    """Those that choose it for new connections."""
    opened: int
    """Connections that began, as this node served them."""
    answered: int
    """Of these: answered."""
    refused: int
    """Of these: refused by a reset."""
    reset: int
    """Of these: reset by the backend later."""


@dataclass(frozen=True, slots=True)
class BackendName:
    """What people call a backend."""

    address: str
    """Address and port."""
    service: str
    """Services that use it, as namespace/name, with commas."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One Maglev table."""

    frontend: str
    size: int
    """Slots."""
    digest: str
    """Equal on nodes that choose alike."""
    shares: dict[str, int]
    """Slots by backend."""
    chosen: str
    """The backend of the client that was asked about; empty if none was."""


def name_of(address: Address | str, port: int) -> str:
    """Return an address with a port as people write it: IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
