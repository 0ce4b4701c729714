"""Peers and RIBs together: a whole BGP speaker without sockets and without a clock.

    peers, own routes, connections, octets, time  ->  Speaker  ->  octets, events, paths

The driver opens what `wanted_connections` asks for, reports what happens, sends `output`, closes
what `closing` names once its output is sent, and calls `expire` by `deadline`.

Invariants  Calls for connections that are gone are harmless.
            Routes that wait become UPDATEs only when the driver takes output, so that a slow peer
            costs memory for prefixes, not for messages.
Standards   RFC 4271; RFC 4724; RFC 7313 s4; RFC 7606; and what peer, session and rib name
Not here    sockets and MD5 (cairn.drive), the kernel's routes (cairn.netlink).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.config import Connect, ConnectionId, PeerConfig, Refused, template_for
from cairn.bgp.error import Cease, ErrorCode
from cairn.bgp.event import (
    AttributeDiscarded,
    EndOfRib,
    Event,
    Path,
    PeerDown,
    PeerState,
    PeerStateChanged,
    PeerUp,
    PrefixLimit,
    RouteChanged,
    RouteNotAnnounced,
    TreatedAsWithdraw,
)
from cairn.bgp.framing import MessageType
from cairn.bgp.member import Member, instance_name, peer_state
from cairn.bgp.message.notification import Notification, shutdown
from cairn.bgp.message.refresh import Refresh, RefreshType
from cairn.bgp.message.update import Update
from cairn.bgp.peer import Established, Lost, Peer
from cairn.bgp.restart import earliest
from cairn.bgp.rib.adj_out import AdjOut
from cairn.bgp.rib.exchange import Exchange
from cairn.bgp.rib.route import Source
from cairn.bgp.session import Session
from cairn.bgp.transitions import State
from cairn.bgp.treatment import Treatment
from cairn.net import Address, Network

__all__ = [
    "Connect",
    "ConnectionId",
    "Event",
    "Path",
    "PeerConfig",
    "PeerDown",
    "PeerState",
    "PeerStateChanged",
    "PeerUp",
    "PrefixLimit",
    "Refused",
    "RouteChanged",
    "RouteNotAnnounced",
    "Speaker",
    "TreatedAsWithdraw",
]

PREFIX_LIMIT_IDLE_S = 60.0
"""How long a peer that announced too much stays away."""


class Speaker:
    """A BGP speaker; see the module's card for how it is driven."""

    def __init__(
        self,
        *,
        router_id: IPv4Address,
        random: Callable[[], float],
        multipath: int = 16,
        restarting: bool = False,
    ) -> None:
        self._router_id = router_id
        self._random = random
        self._restarting = restarting
        self._exchange = Exchange(router_id, multipath)
        self._configs: dict[str, PeerConfig] = {}
        self._members: dict[str, Member] = {}
        self._connections: dict[ConnectionId, tuple[Member, Session]] = {}
        self._dialled: dict[ConnectionId, Member] = {}
        self._numbers = 0
        self._wanted: list[Connect] = []
        self._closing: list[ConnectionId] = []
        self._events: list[Event] = []

    # -- desired state ------------------------------------------------------------------------

    def configure(self, peers: Mapping[str, PeerConfig], now: float) -> None:
        """Make `peers` the peers; a session is reset only where it cannot be kept."""
        before, self._configs = self._configs, dict(peers)
        for member in list(self._members.values()):
            old, new = before[member.template], peers.get(member.template)
            if new is None:
                self._remove(member, Notification(ErrorCode.CEASE, Cease.PEER_DE_CONFIGURED), now)
            elif old.essence != new.essence:
                why = Notification(ErrorCode.CEASE, Cease.OTHER_CONFIGURATION_CHANGE)
                self._remove(member, why, now)
            elif old != new:
                self._reconfigure(member, new, now)
        for name, config in peers.items():
            if config.address is not None and name not in self._members:
                self._add(name, name, config, config.address, now).peer.start(now)
        self._settle(now)

    def announce(self, routes: Mapping[Network, Attributes], now: float) -> None:
        """Make `routes` the whole set of routes of our own."""
        self._exchange.originate(routes)
        self._settle(now)

    def reset(self, peer: str, now: float, *, said: str = "") -> None:
        """End the session of `peer` with Administrative Reset and begin anew; raises KeyError."""
        member = self._members[peer]
        member.peer.stop(shutdown(Cease.ADMINISTRATIVE_RESET, said), now, idle_s=0.0)
        self._settle(now)

    def shut_down(self, now: float, *, said: str = "") -> None:
        """Say goodbye to all peers, which then forget our routes, and stay idle."""
        for member in self._members.values():
            member.peer.stop(shutdown(Cease.ADMINISTRATIVE_SHUTDOWN, said), now)
        self._settle(now)

    # -- connections --------------------------------------------------------------------------

    def wanted_connections(self) -> Sequence[Connect]:
        """Return the connections to open now, and forget them."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def connected(self, peer: str, connection: ConnectionId, *, local: Address, now: float) -> None:
        """Take a connection that was asked for; `local` is our address on it."""
        member = self._dialled.pop(connection, None)
        if member is None:
            return
        session = member.peer.connected(connection, local, now)
        if session is not None:
            self._connections[connection] = (member, session)
        self._settle(now)

    def accepted(self, remote: Address, local: Address, now: float) -> ConnectionId | Refused:
        """Return the number of a connection from `remote`, or why nobody wants it."""
        member = self._find(remote) or self._find_template(remote, now)
        if member is None:
            return Refused(f"no peer {remote} is configured")
        refusal = member.peer.refuses()
        if refusal:
            return Refused(refusal)
        connection = self._next_connection()
        self._connections[connection] = (member, member.peer.accepted(connection, local, now))
        self._settle(now)
        return connection

    def connect_failed(self, connection: ConnectionId, reason: str, now: float) -> None:
        """Take note that a connection that was asked for could not be opened."""
        member = self._dialled.pop(connection, None)
        if member is not None:
            member.peer.connect_failed(connection, reason, now)
            self._settle(now)

    def closed(
        self, connection: ConnectionId, now: float, reason: str = "the peer closed the connection"
    ) -> None:
        """Take note that a connection is gone."""
        dialled = self._dialled.pop(connection, None)
        found = self._connections.pop(connection, None)
        member = found[0] if found else dialled
        if member is not None:
            member.peer.closed(connection, reason, now)
            self._settle(now)

    def receive(self, connection: ConnectionId, data: bytes, now: float) -> None:
        """Take octets that arrived."""
        found = self._connections.get(connection)
        if found is not None and connection in found[0].peer.sessions:
            found[0].peer.receive(connection, data, now)
            self._settle(now)

    def output(self, connection: ConnectionId) -> bytes:
        """Return the octets to send on `connection`, and forget them."""
        found = self._connections.get(connection)
        if found is None:
            return b""
        member, session = found
        if member.peer.established == connection:
            self._flush(member, session)
        return session.output()

    def closing(self) -> Sequence[ConnectionId]:
        """Return the connections to close once their output is sent, and forget them."""
        closing, self._closing = self._closing, []
        return closing

    # -- time ---------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When `expire` must be called at the latest; None while no timer runs."""
        return earliest(one.deadline for one in self._members.values())

    def expire(self, now: float) -> None:
        """Fire the timers whose time has come."""
        for member in list(self._members.values()):
            member.peer.expire(now)
            if member.restart.expire(now):
                self._exchange.sweep(member.name)
        self._settle(now)

    # -- what others see ----------------------------------------------------------------------

    def events(self) -> Sequence[Event]:
        """Return what happened since the last call and forget it."""
        events, self._events = self._events, []
        return events

    def peers(self) -> Sequence[PeerState]:
        """Return every peer as it is now, by address."""
        members = sorted(self._members.values(), key=lambda one: one.sort_key)
        return [peer_state(one, self._exchange) for one in members]

    def rib(self) -> Sequence[Path]:
        """Return every path, by prefix, the used ones first; unusable ones last."""
        return list(self._exchange.paths())

    # -- members ------------------------------------------------------------------------------

    def _next_connection(self) -> ConnectionId:
        self._numbers += 1
        return ConnectionId(self._numbers)

    def _add(
        self, name: str, template: str, config: PeerConfig, remote: Address, now: float
    ) -> Member:
        peer = Peer(
            config,
            name,
            remote,
            router_id=self._router_id,
            random=self._random,
            next_connection=self._next_connection,
            restarting=self._restarting,
        )
        member = Member(template, peer, since=now)
        self._members[name] = member
        return member

    def _remove(self, member: Member, why: Notification, now: float) -> None:
        member.peer.stop(why, now)
        self._take(member, now)
        self._exchange.leave(member.name, ())
        del self._members[member.name]

    def _reconfigure(self, member: Member, config: PeerConfig, now: float) -> None:
        member.peer.config = config
        outlet = member.outlet()
        self._exchange.filters(member.name, config.import_filter, outlet)
        self._check_limit(member, now)

    def _find(self, remote: Address) -> Member | None:
        return next((one for one in self._members.values() if one.peer.remote == remote), None)

    def _find_template(self, remote: Address, now: float) -> Member | None:
        template = template_for(remote, self._configs)
        if template is None:
            return None
        config = self._configs[template]
        member = self._add(instance_name(template, remote), template, config, remote, now)
        member.peer.start(now)
        return member

    # -- what peers report --------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        for member in list(self._members.values()):
            self._take(member, now)
            if member.is_spent(self._exchange):
                del self._members[member.name]
        self._events += self._exchange.settle()

    def _take(self, member: Member, now: float) -> None:
        for event in member.peer.events():
            match event:
                case Established():
                    self._join(member, event, now)
                case Lost():
                    self._leave(member, event, now)
                case Update():
                    self._learn(member, event, now)
                case Refresh():
                    self._refresh(member, event)
        for wanted in member.peer.wanted():
            self._dialled[wanted.connection] = member
            self._wanted.append(wanted)
        self._closing += member.peer.dropped()
        shown, member.shown = member.shown, member.peer.state
        if shown is not member.shown:
            member.since = now
            changed = PeerStateChanged(member.name, member.peer.remote, shown, member.shown)
            self._events.append(changed)

    def _join(self, member: Member, up: Established, now: float) -> None:
        agreed = up.negotiated
        member.negotiated, member.local = agreed, up.local
        swept = member.restart.returned(agreed, now)
        self._exchange.sweep(member.name, swept)
        source = Source(
            member.name,
            member.peer.remote,
            up.local,
            agreed.local_asn,
            agreed.remote_asn,
            agreed.remote_id,
        )
        outlet = member.outlet()
        adj_out = AdjOut(agreed)
        if outlet is not None:
            self._exchange.join(source, member.peer.config.import_filter, outlet, adj_out)
        if agreed.graceful_restart is not None:
            for family in sorted(agreed.families):
                adj_out.end(family)
        remote, hold_s = member.peer.remote, agreed.hold_time_s
        self._events.append(PeerUp(member.name, remote, agreed.remote_asn, hold_s))

    def _leave(self, member: Member, lost: Lost, now: float) -> None:
        agreed = member.negotiated
        if agreed is not None and lost.was is State.ESTABLISHED:
            member.negotiated = None
            kept = member.restart.lost(agreed, now) if lost.graceful else set()
            self._exchange.leave(member.name, kept)
        graceful = bool(self._exchange.stale(member.name))
        down = PeerDown(member.name, member.peer.remote, lost.reason, lost.was, graceful)
        self._events.append(down)

    def _learn(self, member: Member, update: Update, now: float) -> None:
        if member.negotiated is None:
            return  # the session ended behind it in the same octets
        self._exchange.update(member.name, update)
        self._report(member, update)
        if update.end_of_rib is not None:
            member.restart.ended(update.end_of_rib)
            self._exchange.sweep(member.name, [update.end_of_rib])
            # Whoever acts on the end must have seen the routes before it.
            self._events += self._exchange.settle()
            self._events.append(EndOfRib(member.name, update.end_of_rib))
        self._check_limit(member, now)

    def _report(self, member: Member, update: Update) -> None:
        for finding in update.findings:
            if finding.treatment is Treatment.DISCARD_ATTRIBUTE:
                self._events.append(AttributeDiscarded(member.name, str(finding)))
            else:
                gone = update.withdrawn
                self._events.append(TreatedAsWithdraw(member.name, gone, str(finding)))

    def _check_limit(self, member: Member, now: float) -> None:
        limit = member.peer.config.max_prefixes
        count = self._exchange.received(member.name)
        if limit is None or count <= limit or member.peer.established is None:
            return
        self._events.append(PrefixLimit(member.name, count, limit))
        why = Notification(ErrorCode.CEASE, Cease.MAXIMUM_NUMBER_OF_PREFIXES_REACHED)
        member.peer.stop(why, now, idle_s=PREFIX_LIMIT_IDLE_S)
        self._take(member, now)

    def _refresh(self, member: Member, asked: Refresh) -> None:
        agreed, session = member.negotiated, member.peer.session
        if agreed is None or session is None or asked.family not in agreed.families:
            return  # RFC 2918 s4: of a family that was not announced, it is ignored
        if asked.subtype == RefreshType.BEGIN:
            self._exchange.mark_stale(member.name, [asked.family])
        elif asked.subtype == RefreshType.END:
            self._exchange.sweep(member.name, [asked.family])
        elif asked.subtype == RefreshType.REQUEST:
            self._answer(member, session, asked, marked=agreed.enhanced_refresh)

    def _answer(self, member: Member, session: Session, asked: Refresh, *, marked: bool) -> None:
        adj_out = self._exchange.outgoing(member.name)
        if adj_out is None:
            return
        if marked:
            session.refresh(replace(asked, subtype=RefreshType.BEGIN))
        adj_out.again(asked.family)
        self._flush(member, session)
        if marked:
            session.refresh(replace(asked, subtype=RefreshType.END))

    def _flush(self, member: Member, session: Session) -> None:
        adj_out = self._exchange.outgoing(member.name)
        if adj_out is not None and session.state is State.ESTABLISHED:
            for body in adj_out.drain():
                session.send(MessageType.UPDATE, body)
