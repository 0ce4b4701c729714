"""The JSONPath subset of printer columns: fields, indexes, wildcards and filters by equality.

    ".status.conditions[?(@.type=="Ready")].status", object  ->  list of values

Standards   Kubernetes "JSONPath Support", the part CRD columns use
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""\.(?P<field>[A-Za-z_](?:[\w-]|\\.)*)
      | \.?\[(?P<index>-?\d+)\]
      | \.?\[(?P<quote>['"])(?P<key>(?:\\.|(?!(?P=quote)).)+)(?P=quote)\]
      | (?P<all>\.?\[\*\]|\.\*)
      | \[\?\(\s*@(?P<path>[^=!<>\s]+)\s*(?P<sign>==|!=)\s*
        (?P<value>"[^"]*"|'[^']*'|[\w.+-]+)\s*\)\]
    """,
    re.VERBOSE,
)


class BadPath(ValueError):
    """A JSONPath outside the subset, or not one at all."""


@dataclass(frozen=True, slots=True)
class _Filter:
    path: str
    value: str
    equal: bool


_ALL = object()


@functools.lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[Any, ...]:
    """Return the path's steps: a field's name, an index, a filter, or all."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = "." + text
    steps: list[Any] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadPath(f"JSONPath {path!r} is not understood at octet {at}")
        name = found["field"] or found["key"]
        if name is not None:
            steps.append(re.sub(r"\\(.)", r"\1", name))
        elif found["index"] is not None:
            steps.append(int(found["index"]))
        elif found["path"] is not None:
            steps.append(_Filter(found["path"], found["value"].strip("\"'"), found["sign"] == "=="))
        else:
            steps.append(_ALL)
        at = found.end()
    return tuple(steps)


def check_path(path: str) -> None:
    """Raise BadPath unless the path can be followed."""
    for step in _steps(path):
        if isinstance(step, _Filter):
            _steps(step.path)


def find(path: str, obj: Any) -> list[Any]:
    """Return every value at the path; none if a part of it is missing."""
    values = [obj]
    for step in _steps(path):
        values = [found for value in values for found in _follow(value, step)]
    return values


def _follow(value: Any, step: Any) -> Iterator[Any]:
    if isinstance(step, str):
        if isinstance(value, Mapping) and step in value:
            yield value[step]
    elif isinstance(step, int):
        if isinstance(value, list) and -len(value) <= step < len(value):
            yield value[step]
    elif isinstance(step, _Filter):
        for item in value if isinstance(value, list) else ():
            texts = [_text(found) for found in find(step.path, item)]
            if (step.value in texts) is step.equal:
                yield item
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
