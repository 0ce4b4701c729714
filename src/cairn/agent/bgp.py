"""The agent's hold on the node's speaker: tells it what to do, hears what happens.

    NodeConfig, announced Services  ->  SpeakerConfig line on the speaker's socket
    speaker's events  ->  log, CiliumBGPNodeConfig status

Invariants  The speaker is told whole states, so a lost connection loses nothing: the
            state is told again on the next one, and an unchanged state changes nothing.
            Nothing is told before the cluster's objects were read once: with the API gone, sessions
            stay as they are. Nor while a password could not be looked up yet: the speaker still
            has the one it was told.
            Whatever the speaker says, the agent goes on.
Not here    BGP (cairn.speaker), what to announce (compile.announcements).
"""

import asyncio
import base64
import binascii
import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from cairn.agent.bgp_status import BgpStatus
from cairn.agent.cluster import Cluster
from cairn.compile.announcements import Announced, bgp_identifier, compile_speaker, served_addresses
from cairn.desired.routes import BfdNeighbour, SpeakerConfig
from cairn.desired.routes_json import save_config
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.bgp_node_config import NodeConfig
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.resource import BGP_NODE_CONFIGS, CILIUM_NODES, SECRETS, Resource
from cairn.net import Address

RECONNECT_S = 0.5
REFRESH_S = 5.0
ANSWER_S = 2 * REFRESH_S
"""A speaker that says nothing for so long, asked every REFRESH_S, hangs."""
SETTLE_S = 0.05
SECRETS_NAMESPACE = "kube-system"
LINE_LIMIT_BYTES = 64 << 20

log = logging.getLogger("bgp")


class Garbled(Exception):
    """What the speaker said is not what speakers say."""


class BgpLink:
    """Tells one node's speaker what to do and reports what it does."""

    _bfd: tuple[BfdNeighbour, ...] = ()

    def __init__(self, client: Client, cluster: Cluster, facts: NodeFacts, socket: Path) -> None:
        self._client = client
        self._cluster = cluster
        self._facts = facts
        self._socket = socket
        self._services: Mapping[Key, Announced] = {}
        self._passwords: dict[str, str] = {}
        self._looked: frozenset[str] = frozenset()
        self._look = asyncio.Event()
        self._config: SpeakerConfig | None = None
        self._compiled_for: NodeConfig | None = None
        self._ignored: tuple[str, ...] = ()
        self._tell = asyncio.Event()
        self._report = asyncio.Event()
        self._status = BgpStatus()
        self._reachable = True
        self._told_state = False

    def services(self, services: Mapping[Key, Announced], changed: Collection[Key]) -> None:
        """Take the Services as they are now, and the configuration that the cluster holds.

        Nothing is done if neither changed: most news are of endpoints on other nodes.
        """
        self._services = services
        if changed or self._config is None or self._cluster.bgp is not self._compiled_for:
            self._compile()

    @property
    def speaker_reachable(self) -> bool:
        """Whether the node's speaker answers."""
        return self._reachable

    def served(self) -> Iterator[tuple[Key, Address, bool]]:
        """Return each load-balancer address with a backend here, and whether peers know it."""
        return served_addresses(self._services, self._status.announced)

    def watch(self, neighbours: tuple[BfdNeighbour, ...]) -> None:
        """Take the nodes that BFD is to watch."""
        if neighbours != self._bfd:
            self._bfd = neighbours
            if self._config is not None:
                self._compile()

    async def run(self) -> None:
        """Follow the speaker until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_loop())
            tasks.create_task(self._secrets_loop())
            while True:
                try:
                    reader, writer = await asyncio.open_unix_connection(
                        self._socket, limit=LINE_LIMIT_BYTES
                    )
                    await self._converse(reader, writer)
                except OSError as error:
                    self._lost(error)
                except Garbled as error:
                    log.error("BGP speaker on %s: %s; connecting anew", self._socket, error)
                await asyncio.sleep(RECONNECT_S)

    def _compile(self) -> None:
        config = self._compiled_for = self._cluster.bgp
        speaker: SpeakerConfig | None = None
        ignored: tuple[str, ...] = ()
        if config is not None:
            if not secrets_of(config) <= self._looked:
                self._look.set()
                return
            speaker, ignored = compile_speaker(config, self._facts, self._services, self._passwords)
        speaker = speaker or SpeakerConfig(bgp_identifier(self._facts), 1)
        speaker = replace(speaker, bfd=self._bfd)
        for line in set(ignored) - set(self._ignored):
            log.error("BGP configuration: %s", line)
        if ignored != self._ignored:
            self._ignored = ignored
            self._report.set()
        if speaker != self._config:
            self._config = speaker
            self._tell.set()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._told_state = False
        self._tell.set()
        writer.write(b'{"watch":true}\n')
        talks = {
            asyncio.create_task(self._tell_loop(writer)),
            asyncio.create_task(self._hear_loop(reader)),
        }
        try:
            done, _ = await asyncio.wait(talks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for talk in talks:
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)
            writer.close()
        raise ConnectionResetError("the speaker closed the connection")

    async def _hear_loop(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await self._line(reader):
                self._hear(msgspec.json.decode(line))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Garbled(f"cannot read what it says: {error!r}") from error

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next line, empty at the end; raises OSError if none comes in time."""
        try:
            async with asyncio.timeout(ANSWER_S):
                line = await reader.readline()
        except TimeoutError:
            raise OSError(f"it has not answered for {ANSWER_S:.0f} s") from None
        if line and not self._reachable:
            log.info("BGP speaker is back on %s", self._socket)
            self._reachable = True
        return line

    async def _tell_loop(self, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._tell.wait()
                self._tell.clear()
                if self._config is not None:
                    writer.write(save_config(self._config))
            except TimeoutError:
                pass
            writer.write(b'{"get":"state"}\n')
            await writer.drain()

    def _hear(self, event: Mapping[str, Any]) -> None:
        match event.get("event"):
            case "state":
                self._status.take(event)
                self._report.set()
                self._log_state(event)
            case "error":
                log.error("BGP speaker refused the state: %s", event.get("error"))
            case "peer-up":
                log.info("%s", event.get("text"))
                self._tell.set()
            case "peer-down":
                log.warning("%s", event.get("text"))
                self._tell.set()
            case "warning":
                log.warning("%s", event.get("text"))
            case "peer-state":
                log.info(
                    "BGP peer %s: %s to %s",
                    event.get("address"),
                    event.get("was"),
                    event.get("state"),
                )

    def _log_state(self, state: Mapping[str, Any]) -> None:
        """Log once per connection to the speaker how its sessions stand: they outlive the agent."""
        if self._told_state:
            return
        self._told_state = True
        for peer in state["peers"]:
            log.info("BGP peer %s (AS %s) is %s", peer["address"], peer["asn"], peer["state"])

    def _lost(self, error: OSError) -> None:
        if self._reachable:
            log.warning("BGP speaker not reachable on %s: %s; retrying", self._socket, error)
            self._reachable = False
            self._status.lose()
            self._report.set()

    async def _publish_loop(self) -> None:
        written: dict[str, Any] = {}
        said = ""
        while True:
            await self._report.wait()
            await asyncio.sleep(SETTLE_S)
            self._report.clear()
            config = self._cluster.bgp
            if config is None:
                continue
            status = self._status.spell(config, self._ignored, reachable=self._reachable)
            if status == written:
                continue
            try:
                await self._write(BGP_NODE_CONFIGS, status)
                await self._write(CILIUM_NODES, {"bgp": status["sessions"]})
                written, said = status, ""
            except ApiError as error:
                if error.status != 404:
                    if error.message != said:
                        log.warning("BGP status not written: %s; trying again", error.message)
                        said = error.message
                    self._report.set()
                    await asyncio.sleep(RECONNECT_S)

    async def _write(self, resource: Resource, status: Mapping[str, Any]) -> None:
        key = Key("", self._facts.name)
        await self._client.patch(resource, key, {"status": status}, subresource="status")

    async def _secrets_loop(self) -> None:
        while True:
            self._look.clear()
            config = self._cluster.bgp
            names = secrets_of(config) if config else frozenset()
            answers = {name: await self._password(name) for name in names}
            found = {name: password for name, password in answers.items() if password}
            looked = frozenset(name for name, password in answers.items() if password is not None)
            if (found, looked) != (self._passwords, self._looked):
                self._passwords, self._looked = found, looked
                self._compile()
            pause_s = REFRESH_S if looked == names else RECONNECT_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._look.wait()

    async def _password(self, name: str) -> str | None:
        """Return the Secret's password, "" if it holds none, None if nobody could tell so far."""
        try:
            secret = await self._client.get(SECRETS, Key(SECRETS_NAMESPACE, name))
            return base64.b64decode((secret.get("data") or {}).get("password") or "").decode()
        except ApiError as error:
            if error.status == 404:
                return ""
            # An unreachable server must not tear down a session whose password we know.
            refused = 400 <= error.status < 500 or name in self._looked
            return self._passwords.get(name, "" if refused else None)
        except (binascii.Error, UnicodeDecodeError):
            return ""


def secrets_of(config: NodeConfig) -> frozenset[str]:
    """Return the names of the Secrets that hold the peers' passwords."""
    return frozenset(
        peer.password_secret
        for instance in config.instances
        for peer in instance.peers
        if peer.password_secret
    )
