"""metav1.LabelSelector, as the API reference words it.

selector, labels  ->  whether they match
"""

from collections.abc import Mapping
from typing import Any


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a selector matches labels.

    "The result of matchLabels and matchExpressions are ANDed. An empty label selector matches
    all objects."
    """
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(holds(item, labels) for item in selector.get("matchExpressions") or ())


def holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether one of matchExpressions holds.

    "A selector that contains values, a key, and an operator that relates the key and values.
    Valid operators are In, NotIn, Exists and DoesNotExist." NotIn holds where the key is missing.
    """
    key, operator = requirement["key"], requirement["operator"]
    if operator == "In":
        return key in labels and labels[key] in requirement["values"]
    if operator == "NotIn":
        return key not in labels or labels[key] not in requirement["values"]
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    raise AssertionError(f"no operator {operator}")
