"""Patterns that strangers send, matched in time linear in the text.

    RE2 syntax, name patterns with `*`  ->  Pattern, or BadFilter

Standards   RE2 syntax (github.com/google/re2/wiki/Syntax), which Hubble's filters have
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import re2

from cairn.flow.bad_filter import BadFilter

LONGEST = 1024
MEMORY_BYTES = 1 << 20
_NAME = r"(?:[-0-9_a-z]+(?:\.[-0-9_a-z]+)*)"
_STAR = "[-.0-9a-z]*"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


class Pattern(Protocol):
    """A compiled expression."""

    def search(self, text: str) -> object | None:
        """Return something if it matches anywhere."""

    def fullmatch(self, text: str) -> object | None:
        """Return something if it matches all."""


def compile_regex(text: str) -> Pattern:
    """Return the compiled expression; raises BadFilter."""
    if len(text) > LONGEST:
        raise BadFilter(f"a regular expression of {len(text)} characters, limit {LONGEST}")
    options = re2.Options()
    options.max_mem = MEMORY_BYTES
    options.log_errors = False
    try:
        found: Pattern = re2.compile(text, options)
    except re2.error as error:
        told = error.args[0] if error.args else ""
        why = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        raise BadFilter(f"regular expression {text!r}: {why}") from None
    return found


def any_search(texts: Sequence[str]) -> Callable[[str], bool]:
    """Return a test whether any expression matches somewhere in a text."""
    patterns = [compile_regex(text) for text in texts]
    return lambda text: any(pattern.search(text) for pattern in patterns)


def any_name(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a test whether any DNS name pattern is a name; `*`: any characters, dots too."""
    whole = compile_regex("|".join(f"(?:{_name(pattern)})" for pattern in patterns))
    return lambda name: bool(whole.fullmatch(name))


def any_node(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a test for `cluster/node`; patterns: `node`, `cluster/`, `cluster/node`, with `*`."""
    parts: list[str] = []
    for pattern in patterns:
        if not pattern:
            raise BadFilter("an empty pattern for a node's name")
        cluster, slash, node = pattern.rpartition("/") if "/" in pattern else ("", "/", pattern)
        if "/" in cluster:
            raise BadFilter(f"{pattern!r} has more than one slash: write cluster/node")
        parts.append(
            f"(?:{_name(cluster) if cluster else _NAME}{slash}{_name(node) if node else _NAME})"
        )
    whole = compile_regex("|".join(parts))
    return lambda name: bool(whole.fullmatch(name))


def _name(pattern: str) -> str:
    text = pattern.strip().removesuffix(".").lower()
    if not text or text.endswith("."):
        raise BadFilter(f"{pattern!r} is no pattern for a name: write example.org or *.example.org")
    for char in text:
        if char not in _PLAIN and char not in ".*":
            raise BadFilter(f"{pattern!r} has {char!r}, which no name has")
    return text.replace(".", r"\.").replace("*", _STAR)
