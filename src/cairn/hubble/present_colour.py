"""Colours of a terminal.

text, verdict  ->  text with the codes around it
"""

from collections.abc import Callable

Paint = Callable[[str, str], str]
"""Text and its verdict -> text."""
_CODES = {
    "ALLOWED": 32,
    "FORWARDED": 32,
    "REDIRECTED": 33,
    "AUDIT": 33,
    "AUDITED": 33,
    "TRANSLATED": 36,
    "TRACED": 36,
    "DENIED": 31,
    "DROPPED": 31,
    "ERROR": 31,
}


def plain(text: str, _: str) -> str:
    """Return the text as it is."""
    return text


def coloured(text: str, verdict: str) -> str:
    """Return the text in the verdict's colour."""
    code = _CODES.get(verdict)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text
