"""This node's Envoy, from the agent's side: gives it what to serve, and waits until it does.

    {port: Redirect}  ->  files  ->  listeners that accept, or a reason why not

Envoy runs in a container of its own (`cairn proxy`), which starts it when the files are there. It
needs the agent for nothing: a restart of either leaves the other as it is.

Invariants  `serve` returns when all that was asked for is in force, or its deadline has passed;
            then the data plane drops what it would have given to a listener that is not there.
            A change of rules about requests leaves listeners and connections as they are.
            Nothing is started before the first redirect. When none is left, Envoy stays until
            connections have had time to end, and goes with all that was made for it.
Not here    which port a redirect has (redirects.py), requests denied (access_log.py)
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

from cairn.agent.access_log import log_requests
from cairn.agent.envoy_refusal import explain_routes
from cairn.agent.proxy_path import ProxyPath
from cairn.apply.proxy_files import ProxyFiles, Versions
from cairn.apply.proxy_program import DRAIN_S
from cairn.compile.proxy import bootstrap, compile_proxy, secrets_of
from cairn.desired.policy import Redirect
from cairn.desired.proxy import ACCESS_LOG, ADMIN, ProxyState
from cairn.drive.envoy_admin import AdminSilent, AdminView, EnvoyAdmin
from cairn.kube.policy.rule import RuleRef
from cairn.observe.access_log import Line

DEADLINE_S = 3.0
"""How long a change may take; a start of Envoy takes less than a second."""
SILENT_DEADLINE_S = 0.3
"""Likewise, when Envoy was away already: nobody waits for it again and again."""
LOOK_S = (0.002, 0.1)
"""The first pause between two looks, and the longest."""
MOST_NAMED = 5
"""Rules that one Event names."""
WATCH_S = 5.0
"""Pause between looks when nothing changes."""

Owners = Mapping[int, Collection[RuleRef]]
"""Rules whose redirects have a port."""
ReadSecret = Callable[[tuple[str, str]], Awaitable[str | None]]
"""Returns the value of the Secret of a namespace and name; None if it cannot be read."""
Tell = Callable[[str, str, bool], None]
"""Takes reason and message of an Event, and whether it is a warning."""

log = logging.getLogger("proxy")


class Envoy:
    """One node's Envoy."""

    def __init__(
        self,
        directory: Path,
        node: str,
        *,
        tell: Tell,
        read_secret: ReadSecret,
        path: ProxyPath | None = None,
    ) -> None:
        """`path`: shared with the node's other proxies."""
        self._files = ProxyFiles(directory)
        self._path = path or ProxyPath()
        self._node = node
        self._tell = tell
        self._read_secret = read_secret
        self._turn = asyncio.Lock()
        self._redirects: dict[int, Redirect] = {}
        self._leaving: dict[int, tuple[Redirect, float]] = {}
        self._owners: Owners = {}
        self._secrets: dict[tuple[str, str], str] = {}
        self._in_use = False
        self._told: dict[int, str] = {}
        self._explained: dict[int, tuple[str, str]] = {}
        self._unused_since: float | None = time.monotonic()
        self.on_requests: Callable[[tuple[Line, ...]], None] = lambda _: None
        """Called with the requests and connections that were judged, a second later at most."""

    @property
    def failures(self) -> Mapping[int, str]:
        """Ports that are not in force as they were last asked for, and why."""
        return self._told

    async def serve(
        self,
        redirects: Mapping[int, Redirect],
        *,
        leaving: Mapping[int, Redirect] | None = None,
        owners: Owners | None = None,
    ) -> None:
        """Have Envoy serve these redirects and no others; return when it does.

        `leaving`: for ports that no verdict names any more, what the connections that they have
        left are held to until they end. Those of other ports that go are denied every request.
        """
        async with self._turn:
            self._redirects = {p: r for p, r in redirects.items() if r.dns is None}
            until = time.monotonic() + DRAIN_S
            self._leaving |= {port: (redirect, until) for port, redirect in (leaving or {}).items()}
            self._owners = owners or {}
            silent = bool(self._told) and await self._look() is None
            await self._apply(SILENT_DEADLINE_S if silent else DEADLINE_S)

    async def run(self) -> None:
        """Watch Envoy, the Secrets and what is denied until cancelled, and tell of it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            log_path = self._files.directory / ACCESS_LOG
            tasks.create_task(log_requests(log_path, lambda lines: self.on_requests(lines)))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            async with self._turn:
                if self._redirects:
                    await self._apply(0.0)
                elif self._in_use or self._files.ports():
                    await self._stop_when_unused()

    async def _apply(self, patience_s: float) -> None:
        self._forget_left()
        if not self._redirects and not self._in_use:
            return
        if self._redirects:
            self._unused_since = None
        await self._read_secrets()
        state = compile_proxy(
            self._redirects,
            self._files.directory,
            self._secrets,
            leaving={port: redirect for port, (redirect, _) in self._leaving.items()},
        )
        if not self._in_use:
            await self._prepare()
        before = await self._look()
        versions = await asyncio.to_thread(self._files.write, state)
        await self._report(state, await self._wait(versions, before, patience_s))

    async def _prepare(self) -> None:
        for sentence in await self._path.need("requests"):
            self._tell("ProxyPathFailed", sentence, True)
            log.error("%s", sentence)
        self._files.write_bootstrap(bootstrap(self._node, self._files.directory))
        self._in_use = True

    async def _look(self) -> AdminView | None:
        try:
            async with EnvoyAdmin(self._files.directory / ADMIN) as admin:
                return await admin.view()
        except AdminSilent:
            return None

    async def _wait(
        self, versions: Versions, before: AdminView | None, patience_s: float
    ) -> dict[int, str]:
        """Return why ports are not in force, once it is known of all; looks at least once."""
        clock = time.monotonic
        end, pause = clock() + patience_s, LOOK_S[0]
        missing: dict[int, str] = {}
        async with EnvoyAdmin(self._files.directory / ADMIN) as admin:
            while True:
                try:
                    view = await admin.view()
                    missing = self._missing(versions, view)
                    late = clock() >= end
                    known = {
                        port: why
                        for port in missing
                        if (
                            why := await self._refusal(
                                admin, port, versions, view, None if late else before
                            )
                        )
                    }
                    if len(known) == len(missing):
                        return known
                    missing |= known
                except AdminSilent as error:
                    missing = dict.fromkeys(self._redirects, str(error))
                    before = None
                if clock() >= end:
                    return missing
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, LOOK_S[1])

    def _missing(self, versions: Versions, view: AdminView) -> dict[int, str]:
        late = "Envoy has not taken it"
        return {
            port: late
            for port in self._redirects
            if port not in view.listening
            or (
                port in versions.routes
                and (port not in view.routes or view.routes[port].version != versions.routes[port])
            )
        }

    async def _refusal(
        self,
        admin: EnvoyAdmin,
        port: int,
        versions: Versions,
        view: AdminView,
        before: AdminView | None,
    ) -> str:
        """Return why Envoy refuses what it was given for a port; "" if it has not.

        `before`: what it had refused earlier, which is not about this; None: it may be.
        """
        if port in view.routes:
            earlier = before.routes.get(port) if before else None
            if view.routes[port].rejected > (earlier.rejected if earlier else 0):
                return await self._explain(port, versions.routes.get(port, ""))
        if port not in view.listening and view.listeners.rejected > (
            before.listeners.rejected if before else 0
        ):
            return await admin.rejection(port)
        return ""

    async def _explain(self, port: int, version: str) -> str:
        """Return why Envoy refuses a version of a port's routes; it is asked once."""
        if self._explained.get(port, ("", ""))[0] != version:
            self._explained[port] = version, await explain_routes(self._files.directory, port)
        return self._explained[port][1]

    async def _report(self, state: ProxyState, failed: dict[int, str]) -> None:
        now = {**failed, **state.refused}
        news: dict[str, list[int]] = {}
        for port, why in now.items():
            if self._told.get(port) != why:
                news.setdefault(why, []).append(port)
        for why, ports in news.items():
            where = self._name(ports)
            log.error("%s: %s", where, why)
            self._tell("ProxyRefused", f"{where}: {why}", True)
        for port in self._told.keys() - now.keys():
            if port in self._redirects:
                log.info("listener %d is in force", port)
        self._told = now

    def _name(self, ports: Collection[int]) -> str:
        """Return the rules whose redirects have these ports, the first few of them."""
        rules = sorted({str(rule) for port in ports for rule in self._owners.get(port, ())})
        names = rules or [f"listener {port}" for port in sorted(ports)]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return ", ".join(names[:MOST_NAMED]) + more

    async def _read_secrets(self) -> None:
        for name in secrets_of(self._redirects):
            value = await self._read_secret(name)
            if value is None:
                self._secrets.pop(name, None)
            else:
                self._secrets[name] = value

    def _forget_left(self) -> None:
        now = time.monotonic()
        self._leaving = {
            port: (redirect, until)
            for port, (redirect, until) in self._leaving.items()
            if until > now and port not in self._redirects
        }

    async def _stop_when_unused(self) -> None:
        now = time.monotonic()
        if self._unused_since is None:
            self._unused_since = now
        if now - self._unused_since < DRAIN_S:
            return
        self._files.clear()
        for sentence in await self._path.release("requests"):
            log.warning("%s", sentence)
        self._in_use = False
        self._leaving.clear()
        log.info("no HTTP rule is left: Envoy stopped")
