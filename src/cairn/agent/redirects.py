"""The ports at which proxies listen for rules that look inside connections.

    Redirect  <->  port;  proxies that serve redirects by port

Invariants  A rule set keeps its port over restarts: RUN/redirects.json. A port is not given to
            another one before all others were.
            A verdict names a port once its proxy has been told and had its time: a proxy that is
            not there is said, and connections for it end with a named reason (PROXY_GONE), but
            nothing else waits.
            A redirect that no verdict names any more leaves its proxy a while later.
"""

import asyncio
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from cairn.desired.policy import Redirect
from cairn.kube.policy.rule import FqdnPeer, RuleRef

PORTS = range(15000, 16000)
PATIENCE_S = 5.0
"""How long a proxy is waited for, whatever it has promised."""
UNUSED_S = 2.0
"""A redirect that no verdict has named for so long leaves its proxy."""

Owners = Mapping[int, Collection[RuleRef]]

log = logging.getLogger("policy")


class RequestProxy(Protocol):
    """A proxy that judges requests and server names (agent.envoy)."""

    async def serve(
        self,
        redirects: Mapping[int, Redirect],
        *,
        leaving: Mapping[int, Redirect] | None = None,
        owners: Owners | None = None,
    ) -> None:
        """Return when these are served and no others, or had their time."""


class NameProxy(Protocol):
    """A proxy that judges queries, and learns what names mean (agent.dns_link)."""

    async def serve(
        self, redirects: Mapping[int, Redirect], selectors: Mapping[FqdnPeer, int]
    ) -> None:
        """Return when these are served and learnt for, or had their time."""


class Redirects:
    """Which redirects there are, at which ports, and which of them are served."""

    def __init__(
        self,
        path: Path,
        *,
        requests: RequestProxy | None,
        names: NameProxy | None,
        absent: Callable[[str], None],
        ports: range = PORTS,
    ) -> None:
        """`absent` is told of a proxy that is needed and not there, in words."""
        self._path = path
        self._requests = requests
        self._names = names
        self._absent = absent
        self._range = ports
        self._by_port = self._load()
        self._ports = {redirect: port for port, redirect in self._by_port.items()}
        self._last = max(self._by_port, default=ports.start - 1)
        self._owners: dict[int, set[RuleRef]] = defaultdict(set)
        self._unused: dict[int, float] = dict.fromkeys(self._by_port, time.monotonic())
        self._leaving: dict[int, Redirect] = {}
        self._told: frozenset[int] = frozenset()
        self._selectors: Mapping[FqdnPeer, int] = {}
        self.changed = asyncio.Event()
        """Set when proxies must be told."""
        self.on_served: Callable[[], None] = lambda: None
        """Called when they have been."""

    def port(self, redirect: Redirect, rule: RuleRef | None = None) -> int:
        """Return the port of a redirect, given now if it had none; 0, where nobody listens, if
        there are more redirects than ports.
        """
        port = self._ports.get(redirect)
        if port is None:
            port = self._next()
            if not port:
                self._absent(f"all {len(self._range)} ports of proxies are taken")
                return 0
            self._ports[redirect] = port
            self._by_port[port] = redirect
            self._leaving.pop(port, None)
            self.changed.set()
        if rule is not None:
            self._owners[port].add(rule)
        self._unused.pop(port, None)
        return port

    def ready(self, redirect: Redirect) -> bool:
        """Return whether a verdict may name the port of a redirect."""
        port = self._ports.get(redirect, 0)
        return not port or port in self._told

    def learn_for(self, selectors: Mapping[FqdnPeer, int]) -> None:
        """Have the addresses of these names learnt."""
        if selectors != self._selectors:
            self._selectors = dict(selectors)
            self.changed.set()

    def retain(self, named: Collection[int], waited_for: Collection[Redirect]) -> None:
        """Let those go that no verdict has named for a while, and that nobody waits for."""
        now = time.monotonic()
        kept = {*named, *(self._ports.get(redirect, 0) for redirect in waited_for)}
        for port in self._by_port.keys() - kept:
            since = self._unused.setdefault(port, now)
            if now - since >= UNUSED_S:
                del self._unused[port]
                redirect = self._leaving[port] = self._by_port.pop(port)
                del self._ports[redirect]
                self._owners.pop(port, None)
                self.changed.set()
        for port in kept & self._unused.keys():
            del self._unused[port]

    @property
    def settling(self) -> bool:
        """Whether `retain` is to be called again."""
        return bool(self._unused)

    async def run(self) -> None:
        """Tell the proxies what to serve, until cancelled."""
        while True:
            await self.changed.wait()
            self.changed.clear()
            asked = dict(self._by_port)
            leaving, self._leaving = self._leaving, {}
            # What leaves is named by no verdict; nobody may begin to name it meanwhile.
            self._told &= asked.keys()
            self._save(asked)
            await self._tell(asked, leaving)
            self._told = frozenset(asked)
            self.on_served()

    async def _tell(
        self, redirects: Mapping[int, Redirect], leaving: Mapping[int, Redirect]
    ) -> None:
        names = {port: r for port, r in redirects.items() if r.dns is not None}
        requests = {port: r for port, r in redirects.items() if r.dns is None}
        waits = []
        if self._requests is not None:
            owners = {port: tuple(self._owners[port]) for port in requests}
            waits.append(self._requests.serve(requests, leaving=leaving, owners=owners))
        elif requests:
            self._absent(
                "no proxy for requests: connections that rules http or serverNames are for end"
            )
        if self._names is not None:
            waits.append(self._names.serve(names, self._selectors))
        elif names or self._selectors:
            self._absent("no proxy for DNS: queries that rules for names are for end")
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=PATIENCE_S)
            for task in done:
                if (error := task.exception()) is not None:
                    self._absent(f"a proxy cannot serve: {error}")

    def _next(self) -> int:
        for step in range(1, len(self._range) + 1):
            place = (self._last - self._range.start + step) % len(self._range)
            port = self._range[place]
            if port not in self._by_port:
                self._last = port
                return port
        return 0

    def _load(self) -> dict[int, Redirect]:
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=dict[int, Redirect])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            log.error("%s is unreadable: ports of proxies are given anew: %s", self._path, error)
            return {}
        return {port: redirect for port, redirect in found.items() if port in self._range}

    def _save(self, redirects: Mapping[int, Redirect]) -> None:
        aside = self._path.with_suffix(".new")
        try:
            aside.write_bytes(msgspec.json.encode(redirects))
            os.replace(aside, self._path)
        except OSError as error:
            log.error("%s: %s; ports of proxies may change at a restart", self._path, error)
