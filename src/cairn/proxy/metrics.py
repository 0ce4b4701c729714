"""What one node's Envoy did, for the supervisor's page of metrics.

    Envoy's admin socket, GET /stats  ->  families of drive.metrics_text

Invariants  An Envoy that does not answer within PATIENCE_S costs its own families, and no others.
Cost        nothing between fetches; one request to Envoy for each
Standards   Envoy's statistics http.PREFIX.downstream_rq_Nxx, http.PREFIX.rbac.*
"""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

from cairn.desired.proxy import ACCESS_LOG, ADMIN
from cairn.drive.metrics_text import Family, counter, gauge, number

PATIENCE_S = 2.0
_STATS = re.compile(
    r"^http\.(?P<way>ingress|egress)\."
    r"(?:downstream_rq_(?P<code>[1-5]xx)|rbac\.(?P<verdict>allowed|denied)"
    r"|(?P<open>downstream_cx_active)): (?P<value>\d+)$",
    re.MULTILINE,
)
_FILTER = "^http.(in|e)gress.(downstream_(rq_[1-5]xx|cx_active)|rbac.(allowed|denied))$"

Counts = dict[tuple[str, ...], float]


def envoy_families(
    directory: Path, *, needed: bool, running: bool, starts: int
) -> Iterator[Family]:
    """Yield every family; those of requests only while Envoy answers."""
    yield number("cairn_proxy_needed", "Whether there is an HTTP rule to serve", needed)
    yield number("cairn_proxy_up", "Whether Envoy runs", running)
    yield number("cairn_proxy_starts_total", "How often Envoy was started", starts)
    log = directory / ACCESS_LOG
    size = log.stat().st_size if log.exists() else 0
    yield number("cairn_proxy_access_log_bytes", "Size of the access log", size)
    text = _ask(directory / ADMIN) if running else ""
    codes: Counts = {}
    verdicts: Counts = {}
    opened: Counts = {}
    for stat in _STATS.finditer(text):
        value = float(stat["value"])
        if stat["code"]:
            codes[stat["way"], stat["code"]] = value
        elif stat["verdict"]:
            verdicts[stat["way"], stat["verdict"]] = value
        else:
            opened[(stat["way"],)] = value
    way = "direction"
    yield counter("cairn_proxy_requests_total", "Answers to HTTP requests", codes, way, "code")
    yield counter(
        "cairn_proxy_request_verdicts_total", "Verdicts on requests", verdicts, way, "verdict"
    )
    yield gauge("cairn_proxy_connections", "Connections that are open", opened, way)


def _ask(admin: Path) -> str:
    """Return Envoy's statistics as text; "" if it does not answer."""
    request = f"GET /stats?filter={_FILTER} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n"
    pieces = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(str(admin))
            connection.sendall(request.encode())
            while piece := connection.recv(65536):
                pieces.append(piece)
    except OSError:
        return ""
    return b"".join(pieces).decode("utf-8", "replace").replace("\r\n", "\n")
