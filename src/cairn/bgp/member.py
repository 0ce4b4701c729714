"""A peer of a running speaker: its machine, its restart and what people see of it.

Peer, Restart, Exchange  ->  Member  ->  PeerState
"""

from dataclasses import dataclass, field

from cairn.bgp.event import PeerState
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.peer import Peer
from cairn.bgp.restart import Restart, earliest
from cairn.bgp.rib.exchange import Exchange
from cairn.bgp.rib.export import Outlet
from cairn.bgp.transitions import State
from cairn.net import Address


@dataclass(slots=True)
class Member:
    """One peer of the speaker."""

    template: str
    """Name in the configuration."""
    peer: Peer
    """Its machine."""
    since: float
    """When its state was entered."""
    restart: Restart = field(default_factory=Restart)
    """Whether its routes outlive its session."""
    shown: State = State.IDLE
    """The state last reported."""
    negotiated: Negotiated | None = None
    """What its session agreed on; None while it is down."""
    local: Address | None = None
    """Our address on its session."""

    @property
    def name(self) -> str:
        """Its own name; of a dynamic one the template's, a slash and the address."""
        return self.peer.name

    @property
    def sort_key(self) -> tuple[int, int, str]:
        """Return a key that orders peers by address."""
        return (self.peer.remote.version, int(self.peer.remote), self.name)

    @property
    def deadline(self) -> float | None:
        """When its first timer fires."""
        return earliest((self.peer.deadline, self.restart.deadline))

    def outlet(self) -> Outlet | None:
        """Return how routes go to it; None while its session is down."""
        if self.negotiated is None or self.local is None:
            return None
        return Outlet(
            self.name,
            self.local,
            self.peer.config.next_hops,
            self.negotiated.local_asn,
            self.negotiated.remote_asn,
            self.negotiated.families,
            frozenset(self.peer.config.families),
            self.peer.config.export_filter,
        )

    def is_spent(self, exchange: Exchange) -> bool:
        """Return whether it came by itself, has gone, and left nothing."""
        gone = self.peer.config.is_dynamic and not self.peer.sessions
        return gone and not self.peer.resting and not exchange.received(self.name)


def instance_name(template: str, remote: Address) -> str:
    """Return the name of a dynamic peer."""
    return f"{template}/{remote}"


def peer_state(member: Member, exchange: Exchange) -> PeerState:
    """Return the peer as people see it."""
    peer, agreed = member.peer, member.negotiated
    configured = peer.config.remote_asn
    asn = agreed.remote_asn if agreed else configured if isinstance(configured, int) else None
    into, out = peer.messages
    adj_out = exchange.outgoing(member.name)
    queued = sum(one.queued for one in peer.sessions.values())
    return PeerState(
        name=member.name,
        template=member.template,
        remote=peer.remote,
        remote_asn=asn,
        local_asn=peer.config.local_asn,
        remote_id=str(agreed.remote_id) if agreed else "",
        state=peer.state,
        since=member.since,
        messages_in=into,
        messages_out=out,
        prefixes_received=exchange.received(member.name),
        prefixes_announced=len(adj_out) if adj_out is not None else 0,
        prefixes_stale=exchange.stale(member.name),
        out_queue=queued + (adj_out.pending if adj_out is not None else 0),
        last_error=peer.last_error,
        hold_time_s=agreed.hold_time_s if agreed else None,
        capabilities=agreed.capabilities if agreed else (),
        families=tuple(sorted(agreed.families)) if agreed else (),
        counts=exchange.counts(member.name),
        not_announced=exchange.not_announced(member.name),
    )
