"""What pages of metrics on this node tell of Cairn's other processes: version, and some figures.

    NAME=ADDRESS:PORT  ->  version by name, figures by name

Invariants  Who does not answer in time is left out: other checks tell of it.
Standards   Prometheus text format 0.0.4
"""

import http.client
import re
from collections.abc import Iterable

PATIENCE_S = 0.5
_BUILD = re.compile(rb'^cairn_build_info\{[^}]*\bversion="([^"]*)"', re.MULTILINE)
_FIGURE = re.compile(rb"^cairn_(?:relay_)?history_(\w+) (\S+)$", re.MULTILINE)


def read_pages(pages: Iterable[str]) -> tuple[dict[str, str], dict[str, float]]:
    """Return the versions of what is behind these pages, and the figures of the history."""
    versions: dict[str, str] = {}
    figures: dict[str, float] = {}
    for page in pages:
        name, _, where = page.partition("=")
        text = _read(where)
        if match := _BUILD.search(text):
            versions[name] = match[1].decode()
        figures |= {found[1].decode(): float(found[2]) for found in _FIGURE.finditer(text)}
    return versions, figures


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
