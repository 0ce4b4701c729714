"""Which versions of Cairn's other processes run on this node, by their pages of metrics.

    NAME=ADDRESS:PORT  ->  version by name

Invariants  Who does not answer in time is left out: other checks tell of it.
Standards   Prometheus text format 0.0.4
"""

import http.client
import re
from collections.abc import Iterable

PATIENCE_S = 0.5
_BUILD = re.compile(rb'^cairn_build_info\{[^}]*\bversion="([^"]*)"', re.MULTILINE)


def read_versions(pages: Iterable[str]) -> dict[str, str]:
    """Return what runs behind these pages."""
    found = {}
    for page in pages:
        name, _, where = page.partition("=")
        version = _read(where)
        if version:
            found[name] = version
    return found


def _read(where: str) -> str:
    host, _, port = where.rpartition(":")
    try:
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=PATIENCE_S)
        try:
            connection.request("GET", "/metrics")
            match = _BUILD.search(connection.getresponse().read())
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    return match[1].decode() if match else ""
