"""A log that many may write to: a few lines a second, and how many were left out.

(key, text)  ->  at most one line a minute for each key, and `per_second` in all
"""

import logging

from cairn.dns.pending import Place
from cairn.dns.query import Refusal

LOG = logging.getLogger("dns")

REPEAT_S = 60.0
MOST_KEYS = 4096


class SampledLog:
    """Says things of which there may be thousands."""

    def __init__(self, *, per_second: int = 10) -> None:
        self._per_second = per_second
        self._said: dict[object, float] = {}
        self._second = 0.0
        self._in_second = 0
        self._left_out = 0

    def warn(self, key: object, form: str, *arguments: object, now: float) -> None:
        """Log a line, or count it."""
        if now - self._said.get(key, -REPEAT_S) < REPEAT_S:
            return
        if now - self._second >= 1.0:
            if self._left_out:
                LOG.warning("%d lines like the ones above were left out", self._left_out)
            self._second, self._in_second, self._left_out = now, 0, 0
        if self._in_second >= self._per_second:
            self._left_out += 1
            return
        self._in_second += 1
        if len(self._said) >= MOST_KEYS:
            self._said.clear()
        self._said[key] = now
        LOG.warning(form, *arguments)


def say_refusal(log: SampledLog, refusal: Refusal, client: Place, now: float) -> None:
    """Log that a query was refused."""
    if refusal.name:
        key, form = (client[0], refusal.name), "DNS: %s may not ask for %s: no rule allows the name"
        log.warn(key, form, client[0], refusal.name, now=now)
    else:
        key, form = (client[0], refusal.reason), "DNS: a query of %s is not passed on: %s"
        log.warn(key, form, client[0], refusal.reason, now=now)
