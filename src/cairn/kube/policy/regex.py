"""Regular expressions of requests: only what the proxy's engine can do.

    text  ->  nothing, or InvalidPolicy

The proxy matches with RE2, whose time is linear in the request; so it has neither look-around nor
back-references, and an expression with them would stop the proxy's configuration as a whole.

Invariants  One pass over the text, whatever it holds; no automaton is built.
            What passes here compiles in RE2; some of what RE2 knows is refused (names of scripts).
Standards   RE2 syntax (github.com/google/re2/wiki/Syntax), as Envoy's `safe_regex` takes it
"""

import re
from dataclasses import dataclass
from enum import IntEnum

from cairn.kube.policy.field import show, text
from cairn.kube.policy.rule import InvalidPolicy

LONGEST = 1024
"""Octets: more than anybody writes."""
MOST_REPEATS = 1000
"""How often RE2 repeats, nested repetitions multiplied."""
MOST_STATES = 20_000
"""Estimated states, far below what RE2 refuses to build."""

_CLASS_STATES = 10
_CATEGORY_STATES = 500
_SUBCATEGORIES = {
    "C": "cfos",
    "L": "lmotu",
    "M": "cen",
    "N": "dlo",
    "P": "cdefios",
    "S": "ckmo",
    "Z": "lps",
}
_CATEGORIES = frozenset(
    main + minor for main, minors in _SUBCATEGORIES.items() for minor in ("", *minors)
)
_POSIX = frozenset(
    {"alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph"}
    | {"lower", "print", "punct", "space", "upper", "word", "xdigit"}
)
_PERL = "dDsSwW"
_LITERALS = "afnrtv"
_ASSERTIONS = "AbBz"
_REPEAT = re.compile(r"\{(\d{1,9})(?:(,)(\d{0,9}))?\}", re.ASCII)
_FLAGS = re.compile(r"\?(?=[imsU-]+[:)])[imsU]*(?:-[imsU]+)?([:)])")
_NAMED_GROUP = re.compile(r"\?P<[A-Za-z_]\w*>", re.ASCII)
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_PROPERTY = re.compile(r"[pP](?:\{\^?(\w{1,32})\}|(\w))", re.ASCII)
_POSIX_CLASS = re.compile(r"\[:\^?(\w{1,32}):\]", re.ASCII)
_HIGHEST_RUNE = 0x10FFFF


def _states_of(char: str) -> int:
    """Return how many octets a character has in UTF-8."""
    return len(char.encode())


class _Refused(ValueError):
    """What RE2 would not take."""


def check_regex(raw: object, path: str) -> None:
    """Raise InvalidPolicy unless `raw` is an expression that RE2 takes."""
    written = text(raw, path)
    try:
        size = len(written.encode())
    except UnicodeEncodeError:
        raise InvalidPolicy(path, f"{show(raw)} is not valid text") from None
    if size > LONGEST:
        raise InvalidPolicy(path, f"{show(raw)} is longer than {LONGEST} octets")
    try:
        _Scan(written).run()
    except _Refused as error:
        raise InvalidPolicy(path, f"regular expression {show(raw)}: {error}") from None


class _Item(IntEnum):
    """What stands before the place that is read."""

    NOTHING = 0
    ONE = 1
    REPEATED = 2


@dataclass(slots=True)
class _Level:
    """What has been read of an open group."""

    states: int = 0
    """Of all items but the last."""
    last: int = 0
    """Of the last item."""
    repeats: int = 1
    """Of what is repeated most within the last item."""
    most: int = 1
    """Of what is repeated most within any."""
    item: _Item = _Item.NOTHING
    """What the last item is."""


class _Scan:
    """One pass over an expression."""

    def __init__(self, written: str) -> None:
        self.text = written
        self.at = 0
        self.open = [_Level()]

    def run(self) -> None:
        """Read all of it; raises _Refused."""
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == "(":
                self._group()
            elif char == ")":
                self._close()
            elif char == "|":
                self._item(1)
                self.open[-1].item = _Item.NOTHING
            elif char == "[":
                self._class()
            elif char == "\\":
                self._escape()
            elif char in "*+?":
                self._repeat(char, 1)
            elif char == "{" and (found := _REPEAT.match(self.text, self.at - 1)):
                self.at = found.end()
                self._counted(found)
            else:
                self._item(_CLASS_STATES if char == "." else _states_of(char))
        if len(self.open) > 1:
            raise _Refused("a ( is not closed")

    def _item(self, states: int, repeats: int = 1) -> None:
        top = self.open[-1]
        top.states += top.last
        top.last, top.repeats, top.item = states, repeats, _Item.ONE
        top.most = max(top.most, repeats)
        self._bound(top)

    def _bound(self, top: _Level) -> None:
        if top.states + top.last > MOST_STATES:
            raise _Refused("it is too large: repeat less")

    def _group(self) -> None:
        rest = self.text[self.at : self.at + 3]
        if rest.startswith(("?=", "?!", "?<=", "?<!")):
            raise _Refused("the proxy cannot look around (?=, ?!, ?<=, ?<!): write it without")
        if rest.startswith("?"):
            found = _NAMED_GROUP.match(self.text, self.at)
            if found is None:
                found = _FLAGS.match(self.text, self.at)
                if found is None and not rest.startswith("?:"):
                    raise _Refused(f"({rest} begins no group that is known: write (, (?: or (?i)")
            self.at = found.end() if found else self.at + 2
            if found and found.re is _FLAGS and found[1] == ")":
                self.open[-1].item = _Item.NOTHING
                return
        self.open.append(_Level())

    def _close(self) -> None:
        if len(self.open) == 1:
            raise _Refused("a ) closes nothing")
        done = self.open.pop()
        self._item(done.states + done.last + 2, done.most)

    def _repeat(self, sign: str, times: int) -> None:
        top = self.open[-1]
        if top.item is not _Item.ONE:
            why = "repeats a repetition" if top.item is _Item.REPEATED else "repeats nothing"
            raise _Refused(f"{sign} {why}")
        top.item = _Item.REPEATED
        top.last = (top.last + 1) * times
        top.repeats *= times
        top.most = max(top.most, top.repeats)
        if top.repeats > MOST_REPEATS:
            raise _Refused(f"{sign} repeats more than {MOST_REPEATS} times in all")
        self._bound(top)
        if self.text.startswith("?", self.at):
            self.at += 1

    def _counted(self, found: "re.Match[str]") -> None:
        low = int(found[1])
        high = int(found[3]) if found[3] else low
        if low > MOST_REPEATS or high > MOST_REPEATS or high < low:
            raise _Refused(f"{found[0]} is no count up to {MOST_REPEATS}")
        self._repeat(found[0], max(low, high, 1))

    def _class(self) -> None:
        states = _CLASS_STATES
        if self.text.startswith("^", self.at):
            self.at += 1
        first = True
        while True:
            if self.at >= len(self.text):
                raise _Refused("a [ is not closed")
            if self.text[self.at] == "]" and not first:
                self.at += 1
                break
            first = False
            low, cost = self._member()
            states += cost
            span = self.text[self.at : self.at + 2]
            if low is not None and span.startswith("-") and len(span) == 2 and span[1] != "]":
                self.at += 1
                high, cost = self._member()
                states += cost
                if high is None or high < low:
                    raise _Refused("a range of a class ends before it begins")
        self._item(states)

    def _member(self) -> tuple[int | None, int]:
        """Read one member of a class; return its code point, if it is one, and its cost."""
        if found := _POSIX_CLASS.match(self.text, self.at):
            if found[1] not in _POSIX:
                raise _Refused(f"{found[0]} is no class of characters")
            self.at = found.end()
            return None, _CLASS_STATES
        if self.at >= len(self.text):
            raise _Refused("a [ is not closed")
        char = self.text[self.at]
        self.at += 1
        if char != "\\":
            return ord(char), _states_of(char)
        return self._escaped(inside=True)

    def _escape(self) -> None:
        if self.text.startswith("Q", self.at):
            end = self.text.find("\\E", self.at)
            quoted = self.text[self.at + 1 : end if end >= 0 else len(self.text)]
            self.at = end + 2 if end >= 0 else len(self.text)
            for char in quoted:
                self._item(_states_of(char))
            return
        _, states = self._escaped(inside=False)
        self._item(states)

    def _escaped(self, *, inside: bool) -> tuple[int | None, int]:
        """Read what follows a backslash."""
        if self.at >= len(self.text):
            raise _Refused("it ends in a backslash")
        char = self.text[self.at]
        if found := _HEX.match(self.text, self.at):
            self.at = found.end()
            rune = int(found[1] or found[2], 16)
            if rune > _HIGHEST_RUNE:
                raise _Refused(f"\\{found[0]} is no character")
            return rune, 4
        if found := _PROPERTY.match(self.text, self.at):
            if (found[1] or found[2]) not in _CATEGORIES:
                raise _Refused(f"\\{found[0]} is no category of Unicode, as \\p{{Lu}}")
            self.at = found.end()
            return None, _CATEGORY_STATES
        self.at += 1
        if char in _PERL:
            return None, _CLASS_STATES
        if char in _LITERALS:
            return ord("\a\f\n\r\t\v"[_LITERALS.index(char)]), 1
        if not inside and char in _ASSERTIONS:
            return None, 1
        if char in "123456789kg":
            raise _Refused(f"\\{char} refers back, which the proxy cannot: write it without")
        if ord(char) < 128 and not char.isalnum() and char != "_":
            return ord(char), 1
        raise _Refused(f"\\{char} means nothing")
