"""The ports at which proxies listen for rules that look inside connections.

    SubjectPolicy  ->  ports of its redirects;  proxies that serve redirects by port

Invariants  Ports are kept over restarts: RUN/redirects.json.
            A verdict names a port once its proxy has been told and had its time: a proxy that is
            not there is said, and connections for it end with a named reason (PROXY_GONE), but
            nothing else waits.
            A listener that no verdict names any more goes a while later; what its last connections
            are held to follows the policy until they have ended.
Not here    which port a redirect has, and what becomes of it (compile.redirect_ports)
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from cairn.compile.redirect_ports import RedirectPorts, Slot
from cairn.desired.policy import Redirect, SubjectPolicy
from cairn.desired.proxy import LISTENER_PORTS
from cairn.kube.policy.rule import Direction, FqdnPeer, RuleRef

PATIENCE_S = 5.0
"""How long a proxy is waited for, whatever it has promised."""
UNUSED_S = 2.0
"""A listener that no verdict has named for so long goes."""
LINGER_S = 330.0
"""Its connections have ended after so long; Envoy ends what is left after 300 s."""

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
        absent: Callable[[str], None],
        ports: range = LISTENER_PORTS,
    ) -> None:
        """`absent` is told of a proxy that is needed and not there, in words, and with "" once all
        are.
        """
        self._path = path
        self.requests: RequestProxy | None = None
        """Who judges requests; None: nobody."""
        self.names: NameProxy | None = None
        """Who judges queries; likewise."""
        self._absent = absent
        slots = {port: slot for port, slot in self._load().items() if port in ports}
        self._given = RedirectPorts(ports, slots, max(slots, default=ports.start - 1))
        self._owners: dict[int, set[RuleRef]] = defaultdict(set)
        self._followed: set[int] = set()
        self._unused: dict[int, float] = {}
        self._gone: dict[int, float] = {}
        self._told: Mapping[int, Redirect] = {}
        self._selectors: Mapping[FqdnPeer, int] = {}
        self._asked_requests = self._asked_names = False
        self.changed = asyncio.Event()
        """Set when proxies must be told."""
        self.on_served: Callable[[], None] = lambda: None
        """Called when they have been."""
        self.on_ended: Callable[[int], None] = lambda _: None
        """Called when an identity may have fewer connections at proxies than before."""

    def follow(self, identity: int, policy: SubjectPolicy | None) -> None:
        """Take what the policy of an identity says now; None: nobody has the identity."""
        before = self._of(identity)
        if not self._given.follow(identity, policy):
            self._absent(f"all {len(self._given.ports)} ports of proxies are taken")
        self._followed.add(identity)
        after = self._of(identity)
        for port in after.keys() | before.keys():
            if before.get(port) != after.get(port):
                self._owners.pop(port, None)
                self.changed.set()

    def port(self, identity: int, redirect: Redirect, rule: RuleRef | None = None) -> int:
        """Return the port of a redirect of an identity's policy; 0, where nobody listens, if there
        are more redirects than ports.
        """
        port = self._given.port(identity, redirect)
        if port and rule is not None:
            self._owners[port].add(rule)
        return port

    def ready(self, identity: int, redirect: Redirect) -> bool:
        """Return whether a verdict may name the port of a redirect."""
        port = self._given.port(identity, redirect)
        return not port or self._told.get(port) == redirect

    def directions(self, identity: int) -> frozenset[Direction]:
        """Return the directions in which connections of an identity may be with a proxy."""
        return self._given.directions(identity)

    def learn_for(self, selectors: Mapping[FqdnPeer, int]) -> None:
        """Have the addresses of these names learnt."""
        if selectors != self._selectors:
            self._selectors = dict(selectors)
            self.changed.set()

    def retain(self, named: Collection[int]) -> None:
        """Let those listeners go that no verdict has named for a while, nor will."""
        now = time.monotonic()
        left = {
            port
            for port, slot in self._given.slots.items()
            if slot.left or slot.identity not in self._followed
        }
        for port in left - set(named) - self._gone.keys():
            if now - self._unused.setdefault(port, now) >= UNUSED_S:
                self._gone[port] = now + LINGER_S
                self._given.slots[port].left = True
                self.changed.set()
        self._unused = {
            port: since
            for port, since in self._unused.items()
            if port in left and port not in named and port not in self._gone
        }

    @property
    def settling(self) -> bool:
        """Whether `retain` is to be called again."""
        slots = self._given.slots
        return any(slots[port].left for port in slots.keys() - self._gone.keys())

    async def run(self) -> None:
        """Tell the proxies what to serve, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S / 10 if self._gone else None):
                    await self.changed.wait()
            self._forget()
            if not self.changed.is_set():
                continue
            self.changed.clear()
            slots = self._given.slots
            asked = {p: slot.redirect for p, slot in slots.items() if p not in self._gone}
            leaving = {port: slots[port].redirect for port in self._gone}
            # What is about to change is not to be named meanwhile.
            self._told = {p: r for p, r in self._told.items() if asked.get(p) == r}
            self._save()
            await self._tell(asked, leaving)
            self._told = asked
            self.on_served()

    def _of(self, identity: int) -> dict[int, Redirect]:
        return {p: s.redirect for p, s in self._given.slots.items() if s.identity == identity}

    def _forget(self) -> None:
        """Forget the listeners whose connections have ended."""
        now = time.monotonic()
        for port in [port for port, until in self._gone.items() if until <= now]:
            del self._gone[port]
            identity = self._given.slots.pop(port).identity
            self._owners.pop(port, None)
            self.changed.set()
            self.on_ended(identity)

    async def _tell(
        self, redirects: Mapping[int, Redirect], leaving: Mapping[int, Redirect]
    ) -> None:
        """Tell the proxies, and say what went wrong."""
        names = {port: r for port, r in redirects.items() if r.dns is not None}
        requests = {port: r for port, r in redirects.items() if r.dns is None}
        wrong: list[str] = []
        waits: list[Awaitable[None]] = []
        if self.requests is not None and (requests or leaving or self._asked_requests):
            self._asked_requests = True
            owners = {port: tuple(self._owners[port]) for port in requests}
            waits.append(self.requests.serve(requests, leaving=leaving, owners=owners))
        elif requests:
            wrong.append("no proxy for requests: connections under http or serverNames rules end")
        if self.names is not None and (names or self._selectors or self._asked_names):
            self._asked_names = True
            waits.append(self.names.serve(names, self._selectors))
        elif names or self._selectors:
            wrong.append("no proxy for DNS: queries under rules for names end")
        wrong += await _in_time(waits)
        self._absent("; ".join(wrong))

    def _load(self) -> dict[int, Slot]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[int, Slot])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            log.error("%s is unreadable: ports of proxies are given anew: %s", self._path, error)
            return {}

    def _save(self) -> None:
        aside = self._path.with_suffix(".new")
        try:
            aside.write_bytes(msgspec.json.encode(self._given.slots))
            os.replace(aside, self._path)
        except OSError as error:
            log.error("%s: %s; ports of proxies may change at a restart", self._path, error)


async def _in_time(waits: Iterable[Awaitable[None]]) -> list[str]:
    """Wait for proxies, but not for ever; return what went wrong."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    if not tasks:
        return []
    done, late = await asyncio.wait(tasks, timeout=PATIENCE_S)
    wrong = [str(error) for task in done if (error := task.exception()) is not None]
    return wrong + ["a proxy takes too long" for _ in late]
