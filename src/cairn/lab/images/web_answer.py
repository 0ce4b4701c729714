"""What the lab's web server says, whatever protocol carries it.

request  ->  Answer(status, content type, body)
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

LONGEST_DELAY_S = 60.0


@dataclass(slots=True)
class Site:
    """Who this server is, and how it feels."""

    pod: str
    """Name of the pod."""
    namespace: str
    """Its namespace."""
    node: str
    """Its node."""
    healthy: bool = True
    """What /healthz says."""
    ending: bool = False
    """Whether it was told to end."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Site":
        """Return the site that the kubelet's variables describe."""
        return cls(
            environment.get("CAIRN_POD") or socket.gethostname(),
            environment.get("CAIRN_NAMESPACE", ""),
            environment.get("CAIRN_NODE", ""),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    status: int
    """HTTP status."""
    body: bytes
    """Content."""
    content_type: str = "text/plain; charset=utf-8"
    """What the content is."""
    delay_s: float = 0.0
    """How long to wait before it is sent."""


def answer(
    site: Site,
    method: str,
    target: str,
    headers: Mapping[str, str],
    peer: tuple[str, int],
    protocol: str,
) -> Answer:
    """Return the answer to a request; /fail and /recover change the site's health."""
    url = urlsplit(target)
    match method, url.path:
        case _, "/healthz" | "/readyz" | "/livez":
            return _health(site)
        case "POST" | "PUT", "/fail":
            site.healthy = False
            return Answer(200, b"failing from now on\n")
        case "POST" | "PUT", "/recover":
            site.healthy = True
            return Answer(200, b"healthy again\n")
    address = peer[0].removeprefix("::ffff:")
    facts = {
        "pod": site.pod,
        "namespace": site.namespace,
        "node": site.node,
        "client": address,
        "clientPort": peer[1],
        "protocol": protocol,
        "method": method,
        "path": url.path,
        "host": headers.get("host") or headers.get(":authority", ""),
    }
    delay_s = _delay(url.query) if url.path == "/slow" else 0.0
    if url.path == "/json" or "json" in headers.get("accept", ""):
        return Answer(200, json.dumps(facts).encode() + b"\n", "application/json", delay_s)
    text = "".join(f"{name}: {value}\n" for name, value in facts.items())
    return Answer(200, text.encode(), delay_s=delay_s)


def _health(site: Site) -> Answer:
    if not site.healthy:
        return Answer(503, b"failing, as POST /fail asked; POST /recover ends it\n")
    return Answer(200, b"ok\n")


def _delay(query: str) -> float:
    text = parse_qs(query).get("s", ["1"])[0]
    try:
        return min(max(float(text), 0.0), LONGEST_DELAY_S)
    except ValueError:
        return 0.0
