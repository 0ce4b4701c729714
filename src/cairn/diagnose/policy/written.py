"""A policy as its author wrote it.

object, path of a rule  ->  that part of it, as YAML
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cairn.kube.metadata import Object

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def at_path(obj: Object, path: str) -> Any:
    """Return what stands at `spec.ingress[0]`, or at a rule's path; None if nothing does."""
    found: Any = obj if path.split(".")[0] in ("spec", "metadata") else obj.get("spec")
    if path.startswith("specs["):
        found = obj
    for name, place in _STEP.findall(path):
        if name and isinstance(found, Mapping):
            found = found.get(name)
        elif place and isinstance(found, Sequence) and int(place) < len(found):
            found = found[int(place)]
        else:
            return None
    return found


def rule_text(obj: Object, path: str) -> str:
    """Return the whole rule that a path lies in, as YAML under its list's name."""
    head = re.match(r"(specs\[\d+\]\.)?([A-Za-z]+)(\[\d+\])?", path)
    if head is None:
        return ""
    found = at_path(obj, head.group(0))
    if found is None:
        return ""
    shown = [found] if head.group(3) else found
    text: str = yaml.safe_dump({head.group(2): shown}, sort_keys=False, default_flow_style=False)
    return text.rstrip()
