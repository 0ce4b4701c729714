"""What processes tell of themselves: agents, speakers, proxies, the relay; and certificates.

    unix sockets, the relay, files, Secrets  ->  fields of NodeReport and Facts

Units       times in seconds of unix time where a name ends in `_at`
Invariants  Every field has a default: an older process tells less.
"""

import msgspec


class Drift(msgspec.Struct, frozen=True):
    """One difference between what the agent wants and what the kernel holds."""

    kind: str
    """service, vip, endpoint, peer."""
    subject: str
    """Address and port, address, or namespace/name."""
    what: str
    """What differs, in words."""


class SessionFact(msgspec.Struct, frozen=True):
    """One BGP session, as the node's speaker sees it."""

    peer: str
    """Address."""
    asn: int = 0
    """That the peer is to have."""
    local_asn: int = 0
    state: str = ""
    uptime_s: float | None = None
    hold_time_s: float | None = None
    last_error: str = ""
    """Why it last ended, or could not begin."""
    received: int = 0
    announced: int = 0
    not_announced: dict[str, str] = {}
    """Why, by prefix."""
    families: tuple[str, ...] = ()
    ended: int = 0
    """How often it was established and ended, in the last RECENT_S of the speaker."""
    life_s: float = 0
    """How long it was up, on average, those times."""
    port_answer: str = ""
    """What a connection to the peer's BGP port comes to now: connected, refused, no answer, an
    error; empty: not tried, as the session is established."""


class AnnouncedFact(msgspec.Struct, frozen=True):
    """One route that the node's speaker announces."""

    prefix: str
    next_hop: str | None = None


class SpeakerFact(msgspec.Struct, frozen=True):
    """The node's BGP speaker."""

    error: str = ""
    """Why it does not answer; empty: it answered."""
    version: str = ""
    router_id: str = ""
    asn: int = 0
    sessions: tuple[SessionFact, ...] = ()
    announced: tuple[AnnouncedFact, ...] = ()
    bfd: dict[str, str] = {}
    """State by the other node's address."""


class CertificateFact(msgspec.Struct, frozen=True):
    """One certificate."""

    name: str
    """Whose it is, and where: a file, an address, or Secret namespace/name."""
    begins_at: float = 0
    ends_at: float = 0
    """0 if it cannot be read."""
    names: tuple[str, ...] = ()
    """DNS names and addresses that it is for."""
    wanted: str = ""
    """What it is asked for by; empty: anything will do."""
    error: str = ""
    """Why it cannot be read; empty: it was."""


class WatchFact(msgspec.Struct, frozen=True):
    """One list that the agent follows at the API server."""

    resource: str
    heard_s: float | None = None
    """Since the API server was last heard on it; None: never."""
    error: str = ""
    """Why it does not hear it now."""


class ProxyFact(msgspec.Struct, frozen=True):
    """A proxy of the node: cairn dns or Envoy."""

    name: str
    error: str = ""
    """Why it does not answer; empty: it answered."""
    needed: int = 0
    """Places that policies send to it."""
    version: str = ""
    refused: int = 0
    """Questions that it refused, since it started."""
    asked: int = 0
    """Questions that it was asked, since it started."""


class AgentFact(msgspec.Struct, frozen=True):
    """What the agent says of itself."""

    error: str = ""
    """Why it did not answer; empty: it did."""
    version: str = ""
    started_at: float = 0
    healthy: bool = True
    """Whether the node's state is as it should be."""
    reason: str = ""
    """Why not."""
    failures: dict[str, tuple[str, ...]] = {}
    """What could not be written, by what it is about."""
    reconciled_at: float = 0
    """Last pass that ended well."""
    watches: tuple[WatchFact, ...] = ()
    unproven: dict[str, str] = {}
    """Services with ready backends here that the node could not prove to serve, and why."""
    answered: tuple[str, ...] = ()
    """Addresses for which this node answers ARP and ND."""
    strangers: dict[str, str] = {}
    """Ethernet address of a host that answers for an address of ours."""
    policy_waiting: int = 0
    """Whose policy waits for a proxy."""
    policy_marks: dict[str, int] | None = None
    """Mark of the policies that it has taken up, by namespace; None: it does not tell."""
    troubles: tuple[str, ...] = ()
    """What of the policies is not in force, in sentences."""
    ejected: dict[str, str] = {}
    """Backends found dead, and why."""
    drops: dict[str, int] = {}
    """Flows that were dropped lately for want of something, by reason."""
    drops_window_s: float = 0
    """How long ago lately is."""
    events_lost: int = 0
    """Events that were lost lately between the kernel and the agent."""
    events_lost_window_s: float = 0
    xdp: str = ""
    drift: tuple[Drift, ...] = ()


class RelayFact(msgspec.Struct, frozen=True):
    """What the relay tells."""

    skipped: str = ""
    """Why it was not asked: there is none."""
    error: str = ""
    """Why it does not answer; empty: it did."""
    pod: str = ""
    kept: bool = False
    """Whether it keeps a history."""
    stopped: str = ""
    """Since when and why nothing is written; empty: it is."""
    missed: int = 0
    """Flows that were not written, since it started."""
    corrupt: tuple[str, ...] = ()
    """Files that were moved aside, and why, since it started."""
