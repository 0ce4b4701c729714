"""Regular expressions of requests: only what the proxy's engine can do.

    text  ->  nothing, or InvalidPolicy

Invariants  The check itself takes time linear in the text: it builds no automaton for matching.
Standards   RE2 syntax (Envoy's `safe_regex`); POSIX extended expressions are a part of it
"""

from cairn.kube.policy.field import show, text
from cairn.kube.policy.rule import InvalidPolicy

LONGEST = 1024
"""Octets; more than anybody writes, and far from what the proxy refuses to build."""


def check_regex(raw: object, path: str) -> None:
    """Raise InvalidPolicy unless `raw` is an expression that RE2 takes."""
    written = text(raw, path)
    if len(written.encode(errors="replace")) > LONGEST:
        raise InvalidPolicy(path, f"{show(raw)} is longer than {LONGEST} octets")
