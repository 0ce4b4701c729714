"""What a Service's author says of its health checks.

    "off" | "tcp" | "http:/path", then interval=DURATION, fail=COUNT, timeout=DURATION  ->  Wish

Invariants  An annotation that cannot be read raises ValueError with what is wrong and what to
            write; nothing of it is honoured then.
Units       durations as "500ms", "2s"
"""

import re
from dataclasses import dataclass, replace

from cairn.health.check import (
    CONNECT_INTERVAL_S,
    FAILURES,
    INTERVAL_S,
    TIMEOUT_S,
    Check,
    HttpRequest,
)

LEAST_S = 0.1
MOST_S = 300.0
MOST_FAILURES = 100
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_EXAMPLE = 'write "off", "tcp" or "http:/path", then interval=1s, timeout=1s, fail=3 as needed'


@dataclass(frozen=True, slots=True)
class Wish:
    """What is said of a Service's checks."""

    off: bool = False
    """Whether its backends are not to be checked."""
    kind: str = ""
    """`tcp` or `http`; empty: as the pods' probes suggest."""
    path: str = ""
    """What is asked, with `http`."""
    interval_s: float | None = None
    """Between two checks."""
    timeout_s: float | None = None
    """How long an answer may take."""
    failures: int | None = None
    """So many in a row eject a backend."""

    def check(self, probe: HttpRequest | None) -> Check:
        """Return the check of a backend whose pod's readiness probe asks `probe` there."""
        asked = {"tcp": None, "http": HttpRequest(self.path)}.get(self.kind, probe)
        usual_s = CONNECT_INTERVAL_S if asked is None else INTERVAL_S
        return Check(
            asked,
            interval_s=self.interval_s or usual_s,
            failures=self.failures or FAILURES,
            timeout_s=self.timeout_s or TIMEOUT_S,
        )


def read_wish(text: str) -> Wish:
    """Return what an annotation says; raises ValueError."""
    first, *others = text.split() or [""]
    wish = _kind(first)
    for word in others:
        name, _, value = word.partition("=")
        match name:
            case "interval":
                wish = replace(wish, interval_s=_duration(value))
            case "timeout":
                wish = replace(wish, timeout_s=_duration(value))
            case "fail":
                wish = replace(wish, failures=_count(value))
            case _:
                raise ValueError(f"{word!r} is not known: {_EXAMPLE}")
    return wish


def _kind(word: str) -> Wish:
    if word in ("off", "tcp"):
        return Wish(off=word == "off", kind="tcp" if word == "tcp" else "")
    name, _, path = word.partition(":")
    if name == "http" and path.startswith("/") and path.isascii() and path.isprintable():
        return Wish(kind="http", path=path)
    if word.partition("=")[0] in ("", "interval", "timeout", "fail"):
        raise ValueError(f"it does not begin with a kind of check: {_EXAMPLE}")
    raise ValueError(f"{word!r} is no kind of check: {_EXAMPLE}")


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else 0.0
    if not LEAST_S <= seconds <= MOST_S:
        raise ValueError(f'{text!r} is no duration of 100ms to 300s, like "500ms" or "2s"')
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:4]) <= MOST_FAILURES:
        raise ValueError(f"{text!r} is no number of failures from 1 to {MOST_FAILURES}")
    return int(text)
