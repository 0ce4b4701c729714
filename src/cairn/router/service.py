"""The router's life: listen, decide, write routes, guard the port, answer `bgpctl`.

    RouterConfig  ->  BgpDriver  ->  RouteChanged  ->  Fib  ->  kernel;  Views on a unix socket

Invariants  Routes of an earlier run stay until their peers have repeated what holds, or the grace
            ends. When the router stops, its routes stay for the next start; `--flush` removes them.
Units       seconds
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cairn.bgp.config import AsnRule, PeerConfig
from cairn.bgp.error import Cease, ErrorCode
from cairn.bgp.event import (
    AttributeDiscarded,
    EndOfRib,
    Event,
    PeerDown,
    PeerUp,
    PrefixLimit,
    RouteChanged,
    TreatedAsWithdraw,
)
from cairn.bgp.family import IPV4_UNICAST, IPV6_UNICAST, Family, family_of
from cairn.bgp.message.notification import Notification
from cairn.bgp.speaker import Speaker
from cairn.bgp.transitions import State
from cairn.desired import routes
from cairn.desired.prefix_filter import parse_filter
from cairn.drive import metrics_text
from cairn.drive.bgp import BgpDriver
from cairn.drive.bgp_journal import Journal
from cairn.drive.line_server import LineClient, LineServer
from cairn.drive.metrics_page import serve_metrics
from cairn.drive.metrics_text import Histogram
from cairn.linux.sysctl import write_settings
from cairn.net import Address
from cairn.netlink.socket import RouteSocket
from cairn.router.config import EXTERNAL, INTERNAL, PeerGroup, RouterConfig
from cairn.router.daemons import SYSCTLS
from cairn.router.fib import Fib
from cairn.router.firewall import FirewallFailed, apply_rules, compile_rules, remove_rules
from cairn.router.kernel import KernelWriter, routes_of_ours
from cairn.router.metrics import router_families
from cairn.router.observe import Departed, observe
from cairn.router.password_drops import describe_growth, read_password_drops
from cairn.router.shares import shares
from cairn.router.views import save_views

LOG = logging.getLogger(__name__)

LOOK_INTERVAL_S = 5.0
LEFT_FOR_GOOD = str(Notification(ErrorCode.CEASE, Cease.PEER_DE_CONFIGURED))
"""What a neighbour says that does not mean to come back: there is nobody to wait for."""
SETTLE_AFTER_UP_S = 5.0
"""A peer that sends no End-of-RIB has told everything by then."""
GRACEFUL_RESTART_S = 120
NOTHING = parse_filter("deny any")
"""What the nodes are told: the router only listens, their way out is configured elsewhere."""
EVERYWHERE: tuple[Address, ...] = (IPv4Address(0), IPv6Address(0))

FAMILIES = {routes.IPV4_UNICAST: IPV4_UNICAST, routes.IPV6_UNICAST: IPV6_UNICAST}
VERSION = {IPV4_UNICAST: 4, IPV6_UNICAST: 6}
ASN_RULES = {INTERNAL: AsnRule.INTERNAL, EXTERNAL: AsnRule.EXTERNAL}
COUNTED: tuple[type[Event], ...] = (TreatedAsWithdraw, AttributeDiscarded, PrefixLimit, PeerDown)


def peer_config(config: RouterConfig, group: PeerGroup) -> PeerConfig:
    """Return the template for the members of a group."""
    asn = group.remote_asn
    return PeerConfig(
        name=group.name,
        remote=group.prefix,
        local_asn=config.asn,
        remote_asn=ASN_RULES[asn] if isinstance(asn, str) else asn,
        hold_time_s=group.hold_time_s,
        passive=True,
        password=group.password,
        families=tuple(FAMILIES[name] for name in group.negotiates()),
        graceful_restart_s=GRACEFUL_RESTART_S,
        max_prefixes=group.max_prefixes,
        import_filter=group.accepts(),
        export_filter=NOTHING,
    )


class RouterService:
    """One home router."""

    def __init__(self, config: RouterConfig, socket: Path, *, metrics_port: int = 0) -> None:
        self._config = config
        self._metrics_port = metrics_port
        self._flaps: Counter[str] = Counter()
        self._took = Histogram()
        self._server = LineServer(socket, self._on_line)
        self._journal = Journal(LOG)
        self._counters: Counter[str] = Counter()
        self._netlink = RouteSocket()
        found = routes_of_ours(self._netlink)
        self._fib = Fib(found, metric=config.metric, multipath=config.multipath)
        self._kernel = KernelWriter(self._netlink, self._fib)
        speaker = Speaker(
            router_id=config.router_id, random=random.random, multipath=config.multipath
        )
        self._driver = BgpDriver(speaker, self._on_events)
        self._password_drops = read_password_drops()
        self._guarded = False
        self._departed: dict[Address, Departed] = {}
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; raises OSError or FirewallFailed if it cannot start."""
        config = self._config
        missing = write_settings(SYSCTLS, optional=True)
        if missing:
            LOG.warning("this kernel lacks the settings %s", ", ".join(missing))
        await self._server.start()
        try:
            self._driver.configure({g.name: peer_config(config, g) for g in config.groups})
            self._driver.listen(config.listen or EVERYWHERE, config.port)
            self._close_port()
            LOG.info(
                "BGP router %s (AS %d) listens on port %d; %d routes found from before",
                *(config.router_id, config.asn, config.port, self._fib.kept),
            )
            told = asyncio.create_task(serve_metrics(self._families, self._metrics_port))
            await self._keep_routes(stop)
            told.cancel()
        finally:
            self._stopping = True  # our goodbye withdraws everything from us: the kernel keeps it
            await self._driver.shut_down("router stopped")
            await self._server.stop()
            self._open_port()
            LOG.info("%d routes stay in the kernel for the next start", len(self._fib.installed))
            self._netlink.close()

    def _close_port(self) -> None:
        """Guard the port, once it is ours: another router's guard is not to be touched."""
        if self._config.firewall:
            networks = [group.prefix for group in self._config.groups]
            apply_rules(compile_rules(networks, self._config.port))
            self._guarded = True

    def _open_port(self) -> None:
        """Remove the guard of a port on which nobody listens any more."""
        if not self._guarded:
            return
        try:
            remove_rules()
        except FirewallFailed as error:
            LOG.error("the guard of the BGP port may be left: %s", error)

    async def _keep_routes(self, stop: asyncio.Event) -> None:
        """Look after the kernel's routes until `stop`."""
        loop = asyncio.get_running_loop()
        grace_ends = loop.time() + self._config.restart_grace_s
        while not stop.is_set():
            if self._fib.kept and loop.time() >= grace_ends:
                LOG.info("sweeping %d routes that no peer repeated", self._fib.kept)
                self._fib.settle_all()
            self._kernel.look()
            self._complain_of_passwords()
            try:
                async with asyncio.timeout(LOOK_INTERVAL_S):
                    await stop.wait()
            except TimeoutError:
                continue

    def _complain_of_passwords(self) -> None:
        drops = read_password_drops()
        for line in describe_growth(self._password_drops, drops):
            LOG.warning("%s", line)
        self._password_drops = drops

    def _on_events(self, events: Sequence[Event]) -> None:
        self._journal.write(events)
        if self._stopping:
            return
        began = time.monotonic()
        for event in events:
            self._on_event(event)
        self._kernel.write()
        if any(isinstance(event, RouteChanged) for event in events):
            self._took.observe(time.monotonic() - began)

    def _on_event(self, event: Event) -> None:
        match event:
            case RouteChanged():
                gateways = [p.next_hop for p in event.paths if p.next_hop is not None]
                self._fib.set_paths(event.prefix, gateways, shares(event.paths))
            case PeerUp():
                self._departed[event.remote] = Departed(event.asn, self._driver.now, "")
                loop = asyncio.get_running_loop()
                loop.call_later(SETTLE_AFTER_UP_S, self._settle, event.remote)
            case PeerDown() if LEFT_FOR_GOOD in event.reason:
                self._departed.pop(event.remote, None)
            case PeerDown() if event.remote in self._departed:
                asn = self._departed[event.remote].asn
                self._departed[event.remote] = Departed(asn, self._driver.now, event.reason)
            case EndOfRib():
                for peer in self._driver.speaker.peers():
                    if peer.name == event.peer:
                        self._settle_hops(peer.name, peer.remote, event.family)
        if isinstance(event, PeerDown) and event.was is State.ESTABLISHED:
            self._flaps[event.peer] += 1
        if isinstance(event, COUNTED):
            self._counters[type(event).__name__] += 1

    def _settle(self, remote: Address) -> None:
        """Settle a peer that has been up for a while, in all families."""
        if self._fib.kept:
            for peer in self._driver.speaker.peers():
                if peer.remote == remote:
                    for family in peer.families:
                        self._settle_hops(peer.name, remote, family)
            self._kernel.write()

    def _settle_hops(self, peer: str, remote: Address, family: Family) -> None:
        """Settle what a peer has told of one family: its next hops need not be its address.

        Those of a peer that repeated nothing are known only if they are; the grace ends others.
        """
        if not self._fib.kept:
            return
        hops = {
            path.next_hop
            for path in self._driver.speaker.rib()
            if path.peer == peer and family_of(path.prefix) == family
        }
        for gateway in hops | {remote}:
            if gateway is not None:
                self._fib.settle(gateway, VERSION[family])

    def _families(self) -> Iterator[metrics_text.Family]:
        """Yield what the page of metrics holds."""
        driver = self._driver
        yield from router_families(
            driver.speaker.peers(),
            self._fib,
            flaps=self._flaps,
            counters=self._wrong(),
            took=self._took,
            now=driver.now,
        )

    def _wrong(self) -> dict[str, int]:
        """Return what went wrong how often."""
        return {
            **{kind.__name__: self._counters[kind.__name__] for kind in COUNTED},
            **read_password_drops(),
            "RoutesRefusedByKernel": self._kernel.refused,
            "ConnectionsRefused": sum(self._driver.refused.values()),
        }

    def _on_line(self, client: LineClient, line: bytes) -> None:
        counters = self._wrong()
        installed = self._fib.installed.values()
        driver = self._driver
        views = observe(
            self._config,
            driver.speaker,
            installed,
            departed=self._departed,
            counters=counters,
            now=driver.now,
        )
        client.send(save_views(replace(views, now_at=time.time())))
