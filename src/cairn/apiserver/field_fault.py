"""What is wrong with a field, in Kubernetes' own words.

(path, value, what was expected)  ->  FieldError

Clients read these texts and programs look for parts of them, so they are spelled as
kube-apiserver spells them.
"""

import json
from collections.abc import Iterable
from typing import Any

from cairn.apiserver.kind import FieldError, Reason


def invalid(path: str, value: Any, text: str) -> FieldError:
    """The value cannot be; `text` says why."""
    return FieldError(path, Reason.INVALID, f"Invalid value: {shown(value)}: {text}")


def required(path: str, text: str = "") -> FieldError:
    """A value is missing."""
    told = f"Required value: {text}" if text else "Required value"
    return FieldError(path, Reason.REQUIRED, told)


def forbidden(path: str, text: str) -> FieldError:
    """The field may not be set here."""
    return FieldError(path, Reason.FORBIDDEN, f"Forbidden: {text}")


def duplicate(path: str, value: Any) -> FieldError:
    """The value stands in the list already."""
    return FieldError(path, Reason.DUPLICATE, f"Duplicate value: {shown(value)}")


def unsupported(path: str, value: Any, known: Iterable[str]) -> FieldError:
    """The value is none of those that are known."""
    listed = ", ".join(shown(word) for word in sorted(known))
    text = f"Unsupported value: {shown(value)}: supported values: {listed}"
    return FieldError(path, Reason.NOT_SUPPORTED, text)


def shown(value: Any) -> str:
    """Return a value as error texts show it: a list of strings as Go writes one."""
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return "[]string{" + ", ".join(map(json.dumps, value)) + "}"
    return json.dumps(value, separators=(",", ":"))
