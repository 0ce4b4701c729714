"""What pages of metrics tell of Cairn's other processes: versions, history, certificates.

    NAME=ADDRESS:PORT  ->  Pages

Invariants  Who does not answer in time is left out: other checks tell of it.
Standards   Prometheus text format 0.0.4
"""

import http.client
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from cairn.diagnose.process_facts import CertificateFact

PATIENCE_S = 0.5
_BUILD = re.compile(rb'^cairn_build_info\{[^}]*\bversion="([^"]*)"', re.MULTILINE)
_FIGURE = re.compile(rb"^cairn_relay_history_(\w+) (\S+)$", re.MULTILINE)
_CERTIFICATE = re.compile(
    rb'^cairn_\w+_certificate_expiry_timestamp_seconds\{[^}]*\bcertificate="([^"]*)"[^}]*\} (\S+)$',
    re.MULTILINE,
)


@dataclass(slots=True)
class Pages:
    """What the pages told."""

    versions: dict[str, str] = field(default_factory=dict)
    """By the page's name."""
    history: dict[str, float] = field(default_factory=dict)
    """Figures of the relay's history, by name."""
    certificates: list[CertificateFact] = field(default_factory=list)
    """That processes show to others."""


def read_pages(words: Iterable[str]) -> Pages:
    """Return what is told behind NAME=ADDRESS:PORT."""
    told = Pages()
    for word in words:
        name, _, where = word.partition("=")
        take_page(told, name, _read(where))
    return told


def take_page(told: Pages, name: str, text: bytes) -> None:
    """Add what a page tells."""
    if match := _BUILD.search(text):
        told.versions[name] = match[1].decode()
    told.history |= {found[1].decode(): float(found[2]) for found in _FIGURE.finditer(text)}
    told.certificates += [
        CertificateFact(f"certificate {found[1].decode()} of the {name}", ends_at=float(found[2]))
        for found in _CERTIFICATE.finditer(text)
    ]


def _read(where: str) -> bytes:
    host, _, port = where.rpartition(":")
    try:
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=PATIENCE_S)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read()
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return b""
