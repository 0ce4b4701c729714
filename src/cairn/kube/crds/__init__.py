"""The CustomResourceDefinitions of cilium.io that Cairn works with, as package data.

    (nothing)  ->  list of CustomResourceDefinition objects

Shapes      A file is one mapping: `items` are definitions, `shared` is what they refer to.
"""

import json
from importlib.resources import files
from typing import Any

import yaml


def load() -> list[dict[str, Any]]:
    """Return the definitions, sorted by name; each call gives objects of its own."""
    found: list[dict[str, Any]] = []
    for entry in files(__name__).iterdir():
        if entry.name.endswith(".yaml"):
            found += yaml.safe_load(entry.read_text(encoding="utf-8"))["items"]
    # Through JSON, so that no two definitions share a part that one of them might change.
    copies: list[dict[str, Any]] = json.loads(json.dumps(found))
    return sorted(copies, key=lambda crd: str(crd["metadata"]["name"]))
