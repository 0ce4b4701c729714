"""The pods wired on this node, as files that outlive the agent.

    PodEndpoint  <->  DIRECTORY/CONTAINER-IFNAME.json

Invariants  A file is there from before the pod's link is made until after it is gone, so that an
            address is never given twice, whenever the agent dies.
            Files are replaced whole (write aside, rename).
"""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cairn.desired.endpoint import PodEndpoint
from cairn.net import Address, parse_address

LAST_GIVEN = "last-address"

log = logging.getLogger(__name__)


class EndpointStore:
    """The endpoints of one node, in memory and on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._endpoints = {_key(e): e for e in self._load()}

    def __iter__(self) -> Iterator[PodEndpoint]:
        return iter(tuple(self._endpoints.values()))

    def get(self, container_id: str, ifname: str) -> PodEndpoint | None:
        """Return the endpoint of a container's interface, if there is one."""
        return self._endpoints.get((container_id, ifname))

    def put(self, endpoint: PodEndpoint) -> None:
        """Record an endpoint."""
        self._write(self._path(endpoint), json.dumps(_plain(endpoint)))
        self._endpoints[_key(endpoint)] = endpoint

    def remove(self, endpoint: PodEndpoint) -> None:
        """Forget an endpoint."""
        self._path(endpoint).unlink(missing_ok=True)
        self._endpoints.pop(_key(endpoint), None)

    def used(self) -> set[Address]:
        """Return every address that a pod holds."""
        return {address for endpoint in self for address in endpoint.addresses}

    def netns(self) -> list[str]:
        """Return the files that stand for the pods' network namespaces."""
        return [endpoint.netns for endpoint in self]

    @property
    def last(self) -> tuple[Address, ...]:
        """The addresses that were given last, one from each of the node's networks."""
        try:
            words = (self._directory / LAST_GIVEN).read_text().split()
            return tuple(parse_address(word) for word in words)
        except (OSError, ValueError):
            return ()

    @last.setter
    def last(self, addresses: tuple[Address, ...]) -> None:
        self._write(self._directory / LAST_GIVEN, "\n".join(map(str, addresses)))

    def _path(self, endpoint: PodEndpoint) -> Path:
        return self._directory / f"{endpoint.container_id}-{endpoint.ifname}.json"

    def _write(self, path: Path, text: str) -> None:
        aside = path.with_suffix(".new")
        aside.write_text(text)
        os.replace(aside, path)

    def _load(self) -> Iterator[PodEndpoint]:
        for path in sorted(self._directory.glob("*.json")):
            try:
                yield _endpoint(json.loads(path.read_text()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.error("endpoint record %s is unreadable and set aside: %s", path, error)
                path.rename(path.with_suffix(".bad"))


def _key(endpoint: PodEndpoint) -> tuple[str, str]:
    return (endpoint.container_id, endpoint.ifname)


def _plain(endpoint: PodEndpoint) -> dict[str, Any]:
    return asdict(endpoint) | {"addresses": [str(a) for a in endpoint.addresses]}


def _endpoint(raw: dict[str, Any]) -> PodEndpoint:
    return PodEndpoint(**(raw | {"addresses": tuple(map(parse_address, raw["addresses"]))}))
