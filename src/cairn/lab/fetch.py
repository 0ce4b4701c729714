"""Fetch a page as one of the lab's hosts would.

host's namespace, URL  ->  status and text
"""

import http.client
import urllib.parse
from dataclasses import dataclass

from cairn.linux import namespace

_LIMIT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Page:
    """An HTTP answer."""

    status: int
    """Status code."""
    text: str
    """The body, as text."""


def fetch(netns: str, url: str, *, timeout_s: float) -> Page:
    """Return the answer to a GET from inside a network namespace; raises OSError."""
    return namespace.call_in(netns, _get, url, timeout_s)


def _get(url: str, timeout_s: float) -> Page:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/", headers={"User-Agent": "curl/cairn-lab"})
        answer = connection.getresponse()
        return Page(answer.status, answer.read(_LIMIT_BYTES).decode(errors="replace"))
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {error!r}") from error
    finally:
        connection.close()
