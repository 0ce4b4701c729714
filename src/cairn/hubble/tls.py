"""Certificates of Hubble's API: what a server shows and asks for, and what a relay shows to agents.

    PEM files  ->  credentials of gRPC

Invariants  Files that change are read again at the next connection, so that a renewed certificate
            needs no restart; what cannot be read then leaves what was, and is said once.
            Agents are asked by address: their certificates name SERVER_NAME instead.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

SERVER_NAME = "agent.hubble.cairn.io"
"""DNS name in the certificate of every agent."""

log = logging.getLogger("hubble")


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """What a server shows."""

    certificate: str
    """Its own, and those between it and the authority."""
    key: str
    """Of the certificate."""
    clients: str = ""
    """Authorities of clients that may ask; empty: any client may."""


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """What a client trusts and shows."""

    authorities: str
    """Of servers."""
    certificate: str = ""
    """Its own; empty: none."""
    key: str = ""
    """Of the certificate."""


def server_credentials(files: ServerFiles) -> Any:
    """Return a server's credentials; raises OSError."""
    reader = _Reader(files)
    return grpc.dynamic_ssl_server_credentials(
        reader.read(), reader.news, require_client_authentication=bool(files.clients)
    )


def channel_credentials(files: ClientFiles) -> Any:
    """Return a client's credentials; raises OSError."""
    return grpc.ssl_channel_credentials(
        Path(files.authorities).read_bytes(),
        Path(files.key).read_bytes() if files.key else None,
        Path(files.certificate).read_bytes() if files.certificate else None,
    )


class _Reader:
    """Reads a server's files when they have changed."""

    def __init__(self, files: ServerFiles) -> None:
        self._files = files
        self._paths = [Path(p) for p in (files.key, files.certificate, files.clients) if p]
        self._read: list[bytes] = []
        self._said = ""

    def read(self) -> Any:
        """Return what the files hold; raises OSError."""
        self._read = [path.read_bytes() for path in self._paths]
        key, certificate, *authorities = self._read
        return grpc.ssl_server_certificate_configuration(
            [(key, certificate)], authorities[0] if authorities else None
        )

    def news(self) -> Any:
        """Return what the files hold if that has changed, else None."""
        try:
            if [path.read_bytes() for path in self._paths] == self._read:
                return None
            return self.read()
        except OSError as error:
            if self._said != str(error):
                log.error("certificates cannot be read again, those before stay: %s", error)
            self._said = str(error)
            return None
