"""Envoy's own word on what it has in force, over its administration socket.

    admin.sock  ->  AdminView(listeners, versions, rejections)

Standards   Envoy administration interface: /listeners, /stats, /config_dump, /reopen_logs
Cost        two requests a look, a millisecond
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

PATIENCE_S = 2.0
_DISCOVERY = re.compile(
    r"(?:http\.[a-z]+\.rds\.(?P<port>\d+)|listener_manager\.lds)\.(?P<what>version_text|update_rejected)"
)
_FILTER = r"(rds\.[0-9]+|\.lds)\.(version_text|update_rejected)"


class AdminSilent(OSError):
    """Envoy does not answer."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """One file as Envoy has taken it."""

    version: str = ""
    """Of what is in force."""
    rejected: int = 0
    """How often a new one was refused, since Envoy started."""


@dataclass(frozen=True, slots=True)
class AdminView:
    """What Envoy serves at one moment."""

    listening: frozenset[int] = frozenset()
    """Ports of the listeners that accept."""
    listeners: Discovery = Discovery()
    """The file of listeners."""
    routes: Mapping[int, Discovery] = field(default_factory=dict)
    """The files of routes, by port."""


class EnvoyAdmin:
    """A client of one Envoy."""

    def __init__(self, socket: Path) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket)),
            timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
        )

    async def __aenter__(self) -> "EnvoyAdmin":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def view(self) -> AdminView:
        """Return what is in force; raises AdminSilent."""
        stats = await self._get("/stats", format="json", filter=_FILTER)
        listening = await self._get("/listeners", format="json")
        return AdminView(
            frozenset(
                int(status["name"])
                for status in listening.get("listener_statuses") or ()
                if status["name"].isdecimal()
            ),
            *_discoveries(stats.get("stats") or ()),
        )

    async def rejection(self, port: int) -> str:
        """Return why the listener of a port was refused; "" if it was not."""
        dump = await self._get("/config_dump", resource="dynamic_listeners", name_regex=f"^{port}$")
        for listener in dump.get("configs") or ():
            if details := (listener.get("error_state") or {}).get("details"):
                return str(details)
        return ""

    async def _get(self, path: str, **query: str) -> Any:
        try:
            async with self._session.get(f"http://envoy{path}", params=query) as answer:
                return msgspec.json.decode(await answer.read())
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, OSError) as error:
            raise AdminSilent(f"Envoy does not answer: {error or type(error).__name__}") from error


def _discoveries(stats: Any) -> tuple[Discovery, dict[int, Discovery]]:
    texts: dict[int | None, dict[str, Any]] = {}
    for stat in stats:
        if match := _DISCOVERY.fullmatch(stat.get("name", "")):
            port = int(match["port"]) if match["port"] else None
            texts.setdefault(port, {})[match["what"]] = stat.get("value")
    found = {
        port: Discovery(str(values.get("version_text", "")), int(values.get("update_rejected", 0)))
        for port, values in texts.items()
    }
    listeners = found.pop(None, Discovery())
    return listeners, {port: value for port, value in found.items() if port is not None}
