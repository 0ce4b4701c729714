"""Envoy's resources as files that it watches: discovery by file, with nobody to ask.

    ProxyState  ->  bootstrap.json, listeners.json, routes-PORT.json in one directory

So Envoy has its configuration when it starts while the agent is dead, and keeps it when the agent
goes. Each file says by its version what is in it; Envoy tells the version that it has in force.

Invariants  Files are replaced whole (write aside, rename), and only if what they say changes.
            Make before break: routes are there before the listener that asks for them. A listener
            that goes denies every request of the connections that it has left.
            Only root reads them: values of Secrets stand in routes.
Standards   envoy.config.core.v3.PathConfigSource, envoy.service.discovery.v3.DiscoveryResponse
Cost        one small file for a change of rules
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cairn.compile.proxy_routes import route_configuration
from cairn.desired.proxy import BOOTSTRAP, LISTENERS, ROUTES, ProxyState, Resource

_ROUTES_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


@dataclass(frozen=True, slots=True)
class Versions:
    """What Envoy must have in force before the state is."""

    listeners: str = ""
    """Version of the file of listeners."""
    routes: Mapping[int, str] = field(default_factory=dict)
    """Versions of the files of routes, by port."""


class ProxyFiles:
    """The files of one node's Envoy."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._written: dict[str, tuple[list[dict[str, Any]] | list[Resource], str]] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write_bootstrap(self, bootstrap: Resource) -> None:
        """Write what Envoy starts from; `cairn proxy` starts it once this is there."""
        self._write(BOOTSTRAP, json.dumps(bootstrap, indent=1))

    def write(self, state: ProxyState) -> Versions:
        """Write the state; return the versions of its files."""
        routes = {
            port: self._write_resources(
                ROUTES.format(port=port), [{"@type": _ROUTES_TYPE, **resource}]
            )
            for port, resource in state.routes.items()
        }
        self._deny(self.ports() - set(state.routes))
        listeners = [state.listeners[port] for port in sorted(state.listeners)]
        return Versions(self._write_resources(LISTENERS, listeners), routes)

    def ports(self) -> set[int]:
        """Return the ports that have routes."""
        head, tail = ROUTES.split("{port}")
        names = (path.name for path in self.directory.glob(ROUTES.format(port="*")))
        return {int(name.removeprefix(head).removesuffix(tail)) for name in names}

    def remove(self, ports: Iterable[int]) -> None:
        """Remove the routes of listeners that are gone with all their connections."""
        for port in ports:
            name = ROUTES.format(port=port)
            self._written.pop(name, None)
            with contextlib.suppress(FileNotFoundError):
                (self.directory / name).unlink()

    def clear(self) -> None:
        """Remove what Envoy starts from, then the rest: `cairn proxy` stops it."""
        self._written.clear()
        for name in (BOOTSTRAP, LISTENERS):
            with contextlib.suppress(FileNotFoundError):
                (self.directory / name).unlink()
        self.remove(self.ports())

    def _deny(self, ports: Iterable[int]) -> None:
        for port in ports:
            nothing = {"@type": _ROUTES_TYPE, **route_configuration(str(port), (), {})}
            self._write_resources(ROUTES.format(port=port), [nothing])

    def _write_resources(self, name: str, resources: list[dict[str, Any]] | list[Resource]) -> str:
        known = self._written.get(name)
        if known and known[0] == resources:
            return known[1]
        text = json.dumps(resources)
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._write(name, f'{{"version_info": "{version}", "resources": {text}}}')
        self._written[name] = resources, version
        return version

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
            if path.read_text() == text:
                return
        aside = path.with_name(f".{name}.new")
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        aside.replace(path)
