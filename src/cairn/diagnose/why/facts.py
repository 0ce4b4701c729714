"""What was found out for one walk: the cluster's objects, and what those on the way say.

    World, parts  ->  Facts

Invariants  What could not be asked is told with the reason, and is never taken for "all is well".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cairn.diagnose.policy.world import World
from cairn.diagnose.why.parts import HostPart, Lookup, NodePart, Probe, RouterPart, SeenFlow


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a walk may look at."""

    world: World
    """The cluster's objects."""
    nodes: Mapping[str, NodePart] = field(default_factory=dict)
    """What the nodes said that were asked."""
    silent: Mapping[str, str] = field(default_factory=dict)
    """Why others did not answer."""
    router: RouterPart | None = None
    router_why: str = ""
    """Why the router is not known."""
    host: HostPart | None = None
    host_why: str = ""
    """Why the client's host is not known."""
    lookup: Lookup | None = None
    """Of the target's name, if it is one."""
    probe: Probe | None = None
    """Only if one was asked for."""
    flows: tuple[SeenFlow, ...] = ()
    """Between client and target, the latest first."""
    flows_why: str = ""
    """Why no recorded flow is known."""
    flows_reach_s: float = 0
    """How far back they are known."""
