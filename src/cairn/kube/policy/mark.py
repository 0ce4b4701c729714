"""A number that changes when what an object asks for does: to see who has taken it up.

    policy object  ->  its mark;  marks of a namespace  ->  one number

Invariants  The same for whoever reads the object; its status does not matter.
            Marks of a namespace are joined in any order.
Cost        two microseconds for an object
"""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import xor
from zlib import crc32

from cairn.kube.metadata import Object, key_of

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""It repeats the object."""


def mark_of(obj: Object) -> int:
    """Return the mark of an object, and of its name and kind."""
    metadata = obj.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    words = [str(obj.get("kind")), str(key_of(obj))]
    words += [str(metadata.get("uid")), str(metadata.get("generation"))]
    words += [f"{k}={v}" for k, v in sorted(annotations.items()) if k != APPLIED]
    return crc32("\0".join(words).encode())


def marks_of(objects: Iterable[Object]) -> dict[str, int]:
    """Return the mark of each namespace, "" for what has none."""
    return join_marks((key_of(obj).namespace, mark_of(obj)) for obj in objects)


def join_marks(marks: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return one number for each namespace that has marks."""
    found: dict[str, list[int]] = {}
    for namespace, mark in marks:
        found.setdefault(namespace, []).append(mark)
    return {namespace: reduce(xor, each) for namespace, each in found.items()}


def unlike(one: Mapping[str, int], other: Mapping[str, int]) -> list[str]:
    """Return the namespaces whose marks differ."""
    return sorted(n for n in {*one, *other} if one.get(n) != other.get(n))
