"""The speaker's life: take states, keep them, run the sessions, tell what happens.

    lines on the socket, the state file  ->  BgpDriver, BfdDriver  ->  event lines, log

Lines in    a SpeakerConfig            becomes the state; answered by "applied" or "error"
            {"watch": true}            from now on every event, the present state first
            {"get": "state"}           the present state
Lines out   {"event": one of applied error state peer-up peer-down peer-state warning bfd, …}

Invariants  A state that is refused changes nothing. A client that goes changes nothing.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterator, Sequence
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import msgspec

from cairn.bfd.packet import State
from cairn.bfd.session import Change
from cairn.bgp.event import Event
from cairn.bgp.speaker import Speaker
from cairn.desired.reader import ConfigError
from cairn.desired.routes import SpeakerConfig
from cairn.desired.routes_json import read_config
from cairn.drive.bfd import BfdDriver
from cairn.drive.bgp import BgpDriver
from cairn.drive.bgp_journal import Journal
from cairn.drive.line_server import LineClient, LineServer
from cairn.drive.metrics_page import serve_metrics
from cairn.drive.metrics_text import Family
from cairn.net import Address
from cairn.speaker.metrics import SpeakerFigures, speaker_families
from cairn.speaker.peers import bfd_sessions, originated, peer_configs
from cairn.speaker.report import report_bfd, report_change, report_event, report_state
from cairn.speaker.state_file import load_state, save_state

LOG = logging.getLogger(__name__)


class SpeakerService:
    """One node's speaker."""

    def __init__(
        self,
        *,
        socket: Path,
        state: Path,
        listen: Sequence[Address],
        port: int,
        router_id: str,
        metrics_port: int = 0,
    ) -> None:
        self._state_path = state
        self._listen = listen
        self._port = port
        self._router_id = router_id
        self._server = LineServer(socket, self._on_line)
        self._journal = Journal(LOG)
        self._config: SpeakerConfig | None = None
        self._driver: BgpDriver | None = None
        self._bfd: BfdDriver | None = None
        self._running_id = ""
        self._renew = asyncio.Event()
        self._figures = SpeakerFigures()
        self._metrics_port = metrics_port

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; raises OSError if it cannot start."""
        await self._server.start()
        told = asyncio.create_task(serve_metrics(self._families, self._metrics_port))
        try:
            self._resume()
            stopping = asyncio.create_task(stop.wait())
            while not stop.is_set():
                renewing = asyncio.create_task(self._renew.wait())
                await asyncio.wait({stopping, renewing}, return_when=asyncio.FIRST_COMPLETED)
                renewing.cancel()
                if self._renew.is_set() and not stop.is_set():
                    await self._replace_driver()
        finally:
            told.cancel()
            if self._driver is not None:
                await self._driver.shut_down("speaker stopped", graceful=True)
            if self._bfd is not None:
                await asyncio.to_thread(self._bfd.shut_down)
            await self._server.stop()

    def _resume(self) -> None:
        """Go on with what was last saved; a file that says nothing sensible is reported."""
        try:
            config = load_state(self._state_path)
        except (ConfigError, OSError) as error:
            LOG.error("BGP state in %s is not usable: %s", self._state_path, error)
            config = None
        if config is None:
            LOG.info("BGP speaker starts without a state: waiting for the agent")
            return
        LOG.info("BGP speaker starts with the state it had: %s", _sizes(config))
        self._apply(config, restarting=True)

    def _apply(self, config: SpeakerConfig, *, restarting: bool = False) -> None:
        self._config = config
        self._watch(config)
        wanted_id = self._router_id or config.router_id
        if self._driver is None:
            self._driver = self._new_driver(wanted_id, restarting=restarting)
        elif wanted_id != self._running_id:
            self._renew.set()  # sessions must end before others begin
            return
        self._driver.announce(originated(config))
        self._driver.configure(peer_configs(config))

    def _watch(self, config: SpeakerConfig) -> None:
        """Have BFD watch the nodes that the state names."""
        if self._bfd is None:
            if not config.bfd:
                return
            loop = asyncio.get_running_loop()

            def on_changes(changes: Sequence[Change]) -> None:
                loop.call_soon_threadsafe(self._on_changes, changes)

            self._bfd = BfdDriver(on_changes)
            self._bfd.start()
        self._bfd.configure(bfd_sessions(config))

    def _on_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._server.broadcast(_line(report_change(change)))
            if change.state is State.UP:
                LOG.info("BFD with %s is up", change.remote)
            elif change.was is State.UP and change.remote_state is State.ADMIN_DOWN:
                LOG.info("BFD with %s ended: it left on purpose", change.remote)
            elif change.was is State.UP:
                why = change.diagnostic.name.lower().replace("_", " ")
                LOG.warning("BFD with %s is %s: %s", change.remote, change.state.text, why)

    def _new_driver(self, router_id: str, *, restarting: bool) -> BgpDriver:
        speaker = Speaker(
            router_id=IPv4Address(router_id), random=random.random, restarting=restarting
        )
        driver = BgpDriver(speaker, self._on_events)
        driver.listen(self._listen, self._port)
        self._running_id = router_id
        return driver

    async def _replace_driver(self) -> None:
        """Begin anew under another BGP identifier, which no session can change."""
        self._renew.clear()
        driver, self._driver = self._driver, None
        if driver is not None:
            LOG.warning("BGP identifier changes from %s: all sessions restart", self._running_id)
            await driver.shut_down("BGP identifier changed")
        if self._config is not None:
            self._apply(self._config)

    def _on_events(self, events: Sequence[Event]) -> None:
        self._journal.write(events)
        self._figures.take(events, time.monotonic())
        for event in events:
            report = report_event(event)
            if report is not None:
                self._server.broadcast(_line(report))

    def _on_line(self, client: LineClient, line: bytes) -> None:
        try:
            request = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            client.send(_line({"event": "error", "error": f"not a JSON object: {error}"}))
            return
        match request:
            case {"watch": True}:
                client.watching = True
                client.send(_line({"event": "state", **self._state()}))
            case {"get": "state"}:
                client.send(_line({"event": "state", **self._state()}))
            case _:
                client.send(_line(self._take(request)))

    def _take(self, request: Any) -> dict[str, Any]:
        """Take a new state; return the answer."""
        before = self._config
        try:
            config = read_config(request)
            if config != self._config:
                began = time.monotonic()
                self._apply(config)
                self._figures.took.observe(time.monotonic() - began)
                self._keep(config)
        except (ConfigError, OSError) as error:
            self._config = before  # told again, it is tried again
            self._figures.refused += 1
            LOG.error("BGP state refused: %s", error)
            return {"event": "error", "error": str(error)}
        return {"event": "applied", "peers": len(config.peers), "routes": len(config.routes)}

    def _keep(self, config: SpeakerConfig) -> None:
        try:
            save_state(self._state_path, config)
        except OSError as error:
            LOG.error(
                "BGP state is in force but not saved to %s: %s", self._state_path, error.strerror
            )

    def _families(self) -> Iterator[Family]:
        """Yield what the page of metrics holds."""
        speaker = self._driver.speaker if self._driver else None
        yield from speaker_families(
            speaker.peers() if speaker else (),
            speaker.rib() if speaker else (),
            self._bfd_sessions(),
            self._figures,
            asyncio.get_running_loop().time(),
        )

    def _bfd_sessions(self) -> list[dict[str, Any]]:
        sessions = self._bfd.snapshot() if self._bfd else {}
        return [
            report_bfd(remote, state, told, was_up=was_up)
            for remote, (state, told, was_up) in sessions.items()
        ]

    def _state(self) -> dict[str, Any]:
        bfd = self._bfd_sessions()
        if self._config is None or self._driver is None:
            return report_state("", 0, (), (), 0.0, bfd=bfd)
        speaker = self._driver.speaker
        return report_state(
            self._running_id,
            self._config.asn,
            speaker.peers(),
            speaker.rib(),
            self._driver.now,
            bfd=bfd,
            lives=partial(self._figures.lives, now=time.monotonic()),
        )


def _line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _sizes(config: SpeakerConfig) -> str:
    return f"{len(config.peers)} peers, {len(config.routes)} routes"
