"""Kinds about what somebody wrote: the object's own sentence is the cause.

code, name, title, weight  ->  Kind
"""

from cairn.diagnose.finding import Kind, Weight


def written(code: str, name: str, title: str, weight: Weight, about: str = "") -> Kind:
    """Return a kind of what `cairn lint` says of objects; `name` is lint's own word."""
    return Kind(code, name, title, weight, "{reason}", "kubectl edit {what}", about)
