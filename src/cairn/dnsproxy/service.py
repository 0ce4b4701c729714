"""The proxy's life: take states, keep them, listen as they say, tell what is known.

    lines on the socket, the state file  ->  Datagrams, Streams, Store  ->  lines

Lines in    a DnsPolicy          becomes the state; answered by "applied" or "error"
            {"get": "names"}     what was learnt
            {"get": "counters"}  what happened how often
            {"get": "metrics"}   the same as Prometheus text
            {"watch": "lookups"} every lookup from now on (dns.lookup), a line each
Lines out   {"event": one of applied error names counters metrics watching, …}

Invariants  A state that is refused changes nothing. "applied" is said when all its ports listen.
            A port that cannot be had is an error that names it; the others listen.
"""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cairn import __version__
from cairn.desired.dns_policy import DnsPolicy, load_dns_policy, read_dns_policy, save_dns_policy
from cairn.desired.reader import ConfigError
from cairn.dns.learnt import Keeping, Names
from cairn.dns.number import Rcode
from cairn.dns.proxy import Proxy
from cairn.dnsproxy.control import Client, Control
from cairn.dnsproxy.datagrams import Datagrams
from cairn.dnsproxy.lookup_feed import LookupFeed
from cairn.dnsproxy.loop import Loop
from cairn.dnsproxy.report import dns_families, report_metrics, report_names
from cairn.dnsproxy.sampled_log import SampledLog
from cairn.dnsproxy.store import Store
from cairn.dnsproxy.streams import Streams
from cairn.drive.metrics_text import Family, common
from cairn.drive.metrics_thread import start_metrics

LOG = logging.getLogger("dns")


@dataclass(frozen=True, slots=True)
class Options:
    """How the proxy runs."""

    socket: Path
    """Where states come in."""
    state: Path
    """Where the last one is kept."""
    learnt: Path
    """Where what was learnt is kept."""
    pins: Path
    """Where the data plane's maps are pinned."""
    refuse_with: Rcode = Rcode.NXDOMAIN
    """What a pod gets that asks for a name it may not."""
    keeping: Keeping = field(default_factory=Keeping)
    """How long addresses are kept."""
    timeout_s: float = 4.0
    """How long a server has for an answer."""
    capacity: int = 65536
    """Pairs of name and address that are kept."""
    metrics_port: int = 0
    """Of the page of metrics; 0: none."""


class DnsService:
    """One node's DNS proxy."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.loop = Loop()
        names = Names(options.capacity)
        self._proxy = Proxy(names, options.keeping, refuse_with=options.refuse_with)
        self._store = Store(
            names, self._proxy.counts, options.keeping, pins=options.pins, journal=options.learnt
        )
        log = SampledLog()
        self._lookups = LookupFeed()
        self._datagrams = Datagrams(
            self.loop, self._proxy, self._store, log, self._lookups, timeout_s=options.timeout_s
        )
        self._streams = Streams(
            self.loop, self._proxy, self._store, log, self._lookups, timeout_s=options.timeout_s
        )
        self._control = Control(self.loop, options.socket, self._on_line)
        self._policy = DnsPolicy()
        self._ports: set[int] = set()

    def run(self) -> None:
        """Run until the loop is stopped; raises OSError if it cannot start."""
        self._control.open()
        start_metrics(self._families, self._options.metrics_port, LOG.error)
        try:
            self._resume()
            self.loop.run(self._tick)
        finally:
            for port in self._ports:
                self._datagrams.close(port)
                self._streams.close(port)
            self._store.close()
            self._control.close()  # the last: who comes after us waits for it

    def _resume(self) -> None:
        """Go on with what was last told and learnt."""
        policy = None
        try:
            policy = load_dns_policy(self._options.state.read_bytes())
        except FileNotFoundError:
            LOG.info("DNS proxy starts without a state: waiting for the agent")
        except (ConfigError, OSError) as error:
            LOG.error("DNS state in %s is not usable: %s", self._options.state, error)
        if policy is not None:
            for refused in self._apply(policy):
                LOG.error("DNS proxy: %s", refused)
        pairs = self._store.load(self.loop.now)
        if policy is not None:
            LOG.info("DNS proxy starts with what it had: %s, %d addresses", _sizes(policy), pairs)

    def _tick(self, now: float) -> None:
        self._datagrams.tick(now)
        self._streams.tick(now)
        self._store.tick(now)
        self._lookups.flush()

    def _apply(self, policy: DnsPolicy) -> list[str]:
        """Do as the state says; return what could not be done."""
        listeners = {
            port: [(rule.name, rule.pattern) for rule in rules]
            for port, rules in policy.listeners.items()
        }
        self._proxy.listen(listeners)
        selectors = [(peer.name, peer.pattern, number) for peer, number in policy.selectors.items()]
        self._proxy.names.select(selectors)
        self._store.commit()
        refused = []
        for port in sorted(self._ports - policy.listeners.keys()):
            self._datagrams.close(port)
            self._streams.close(port)
            self._ports.discard(port)
        for port in sorted(policy.listeners.keys() - self._ports):
            try:
                self._listen(port)
            except OSError as error:
                refused.append(f"port {port}: {error.strerror}")
        self._policy = policy
        return refused

    def _listen(self, port: int) -> None:
        self._datagrams.listen(port)
        try:
            self._streams.listen(port)
        except OSError:
            self._datagrams.close(port)
            raise
        self._ports.add(port)

    def _on_line(self, line: bytes, client: Client) -> bytes:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return _line({"event": "error", "error": f"not a JSON object: {error}"})
        match request:
            case {"get": "names"}:
                return _line({"event": "names", "names": report_names(self._store, self.loop.now)})
            case {"get": "counters"}:
                said = {"counters": self._counters(), "version": __version__}
                return _line({"event": "counters", **said})
            case {"get": "metrics"}:
                return _line(
                    {
                        "event": "metrics",
                        "text": report_metrics(self._counters(), self._datagrams.took),
                    }
                )
            case {"watch": "lookups"}:
                self._lookups.watch(client)
                return _line({"event": "watching"})
        return _line(self._take(request))

    def _take(self, request: Any) -> dict[str, Any]:
        """Take a new state; return the answer."""
        try:
            policy = read_dns_policy(request)
        except ConfigError as error:
            LOG.error("DNS state refused: %s", error)
            return {"event": "error", "error": str(error)}
        refused = self._apply(policy)
        self._keep(policy)
        for reason in refused:
            LOG.error("DNS proxy cannot listen: %s", reason)
        if refused:
            return {"event": "error", "error": "; ".join(refused)}
        return {"event": "applied", "listeners": len(self._ports)}

    def _keep(self, policy: DnsPolicy) -> None:
        path = self._options.state
        fresh = path.with_name(path.name + ".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(save_dns_policy(policy))
            fresh.replace(path)
        except OSError as error:
            LOG.error("DNS state is in force but not saved to %s: %s", path, error.strerror)

    def _families(self) -> Iterator[Family]:
        """Yield what the page of metrics holds; called from its thread."""
        yield from common("dns")
        yield from dns_families(self._counters(), self._datagrams.took)

    def _counters(self) -> dict[str, int]:
        names = self._proxy.names
        return {
            **self._proxy.counts.copy(),  # whole, whoever asks
            "evicted": names.evicted,
            "selector overflows": names.overflows,
            "addresses held": len(names),
            "addresses unwritten": len(self._store.unwritten),
            "lookups untold": self._lookups.lost,
            "waiting": self._datagrams.waiting,
            "listeners": len(self._ports),
        }


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _sizes(policy: DnsPolicy) -> str:
    return f"{len(policy.listeners)} listeners, {len(policy.selectors)} selectors of names"
